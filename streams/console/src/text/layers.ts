/** Places the services of a map in layers: each one left of all that it needs. */
import type { ServiceNode } from '../types';

export interface Placed {
  node: ServiceNode;
  x: number;
  y: number;
}
export interface Layout {
  nodes: Map<string, Placed>;
  edges: { from: Placed; to: Placed }[];
  width: number;
  height: number;
}

export const NODE = { width: 160, height: 46, gapX: 54, gapY: 16 };

/** Services without any edge are not placed. A cycle, which the API refuses, would end at its first repetition. */
export function layout(services: ServiceNode[]): Layout {
  const known = new Map(services.map((service) => [service.id, service]));
  const needs = (id: string) => (known.get(id)?.depends_on ?? []).filter((other) => known.has(other));
  const needed = new Set(services.flatMap((service) => needs(service.id)));
  const connected = services.filter((service) => needs(service.id).length || needed.has(service.id));

  const depths = new Map<string, number>();
  const depth = (id: string, path: ReadonlySet<string> = new Set()): number => {
    const found = depths.get(id);
    if (found !== undefined) return found;
    if (path.has(id)) return 0;
    const inner = new Set(path).add(id);
    const value = Math.max(-1, ...needs(id).map((other) => depth(other, inner))) + 1;
    depths.set(id, value);
    return value;
  };
  const deepest = Math.max(0, ...connected.map((service) => depth(service.id)));
  const layers: string[][] = Array.from({ length: deepest + 1 }, () => []);
  for (const service of connected) layers[deepest - depth(service.id)]?.push(service.id);
  untangle(layers, needs);

  const nodes = new Map<string, Placed>();
  const tallest = Math.max(0, ...layers.map((layer) => layer.length));
  const step = NODE.height + NODE.gapY;
  layers.forEach((layer, column) => {
    const offset = ((tallest - layer.length) * step) / 2;
    layer.forEach((id, row) => {
      const node = known.get(id);
      if (node) nodes.set(id, { node, x: column * (NODE.width + NODE.gapX) + 4, y: offset + row * step + 4 });
    });
  });
  const edges = connected.flatMap((service) =>
    needs(service.id).flatMap((other) => {
      const [from, to] = [nodes.get(service.id), nodes.get(other)];
      return from && to ? [{ from, to }] : [];
    }),
  );
  return { nodes, edges, width: layers.length * (NODE.width + NODE.gapX) - NODE.gapX + 8, height: tallest * step - NODE.gapY + 8 };
}

/** Order each layer by the mean place of its neighbours (the barycentre heuristic of Sugiyama), a few times. */
function untangle(layers: string[][], needs: (id: string) => string[]) {
  const neighbours = new Map<string, string[]>();
  const link = (a: string, b: string) => neighbours.set(a, [...(neighbours.get(a) ?? []), b]);
  for (const id of layers.flat()) for (const other of needs(id)) (link(id, other), link(other, id));
  for (let round = 0; round < 6; round++) {
    const place = new Map(layers.flatMap((layer) => layer.map((id, row) => [id, (row + 0.5) / layer.length] as const)));
    const mean = (id: string) => {
      const around = neighbours.get(id) ?? [];
      return around.reduce((sum, other) => sum + (place.get(other) ?? 0.5), 0) / Math.max(1, around.length);
    };
    for (const layer of layers) layer.sort((a, b) => mean(a) - mean(b) || a.localeCompare(b));
  }
}
