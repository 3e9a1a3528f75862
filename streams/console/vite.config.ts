import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

// `stormweir api` serves what is built here. Addresses are relative and pages are hashes, so any prefix works.
export default defineConfig({
  plugins: [svelte()],
  base: './',
  build: {
    outDir: '../api/static',
    emptyOutDir: true,
    target: 'es2022',
    // From these on browsers know `light-dark()`, which is left as it is.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    // Nothing is inlined: the content security policy allows files of the API's own origin only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  server: { proxy: { '/api': process.env.STORMWEIR_API ?? 'http://127.0.0.1:8405' } },
});
