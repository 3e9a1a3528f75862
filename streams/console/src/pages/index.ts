/** The pages by the first part of the address. */
import type { Component } from 'svelte';
import Configuration from './configuration/Configuration.svelte';
import Deliveries from './Deliveries.svelte';
import History from './History.svelte';
import IncidentRouter from './IncidentRouter.svelte';
import Insights from './Insights.svelte';
import Integrations from './integrations/Integrations.svelte';
import Oncall from './Oncall.svelte';
import Services from './Services.svelte';
import Settings from './settings/Settings.svelte';

export const PAGES: Record<string, Component> = {
  incidents: IncidentRouter,
  services: Services,
  oncall: Oncall,
  history: History,
  insights: Insights,
  deliveries: Deliveries,
  integrations: Integrations,
  rules: Configuration,
  settings: Settings,
};
