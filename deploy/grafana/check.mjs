// Holds dashboards against the types that Grafana publishes: no field it does
// not know, no value of another type or enumeration, in the dashboard, its
// panels, their options and their queries.
//
//   npm ci && node check.mjs DASHBOARD.json ...
//
// The compiler does the work: each file becomes a literal of Grafana's type, in
// a program that is never run. What the types require and Grafana fills in with
// defaults may be absent. The last lines damage a dashboard in several ways and
// expect the compiler to refuse each, so that a check that checks nothing fails.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const modules = join(process.env.GRAFANA_TYPES ?? here, 'node_modules');

// Panels of the types in use; others are refused until they are added.
const kinds = ['stat', 'timeseries', 'table'];

const prelude = `
import type { Dashboard, FieldConfigSource, Panel, RowPanel } from '@grafana/grafana-foundation-sdk/dashboard';
import type { Dataquery } from '@grafana/grafana-foundation-sdk/prometheus';
${kinds.map((k) => `import type * as ${k} from '@grafana/grafana-foundation-sdk/${k}';`).join('\n')}

// A type as JSON has it: enumerations are their values, functions are not there.
type Json<T> =
  0 extends 1 & T ? T :
  T extends string ? \`\${T}\` :
  T extends (infer U)[] ? Json<U>[] :
  T extends object ? { [K in keyof T as T[K] extends Function ? never : K]?: Json<T[K]> } :
  T;
type Kind<Name extends string, Options> =
  Json<Omit<Panel, 'type' | 'options' | 'targets'>> & { type: Name; options?: Json<Options>; targets?: Json<Dataquery>[] };
type Known = Json<Omit<Dashboard, 'panels'>> & {
  panels: (Json<Omit<RowPanel, 'type'>> & { type: 'row' } | ${kinds.map((k) => `Kind<'${k}', ${k}.Options>`).join(' | ')})[];
};
`;

// compile returns what the compiler has to say about the dashboards.
function compile(dashboards) {
  const dir = mkdtempSync(join(tmpdir(), 'dashboards-'));
  try {
    symlinkSync(modules, join(dir, 'node_modules'));
    dashboards.forEach(([name, value]) => writeFileSync(join(dir, `${name}.ts`), `${prelude}\nconst d: Known = ${JSON.stringify(value, null, 2)};\nexport default d;\n`));
    const files = dashboards.map(([name]) => `${name}.ts`);
    const flags = ['--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022', '--module', 'nodenext'];
    try {
      execFileSync(process.execPath, [join(modules, 'typescript', 'bin', 'tsc'), ...flags, ...files], { cwd: dir, encoding: 'utf8' });
      return '';
    } catch (err) {
      return err.stdout || String(err);
    }
  } finally {
    rmSync(dir, { recursive: true });
  }
}

const dashboards = process.argv.slice(2).map((file) => [basename(file, '.json'), JSON.parse(readFileSync(file, 'utf8'))]);
if (dashboards.length === 0) {
  console.error('usage: node check.mjs DASHBOARD.json ...');
  process.exit(2);
}
const complaints = compile(dashboards);
if (complaints) {
  console.error(complaints);
  process.exit(1);
}

const damage = {
  'a field of the dashboard': (d) => { d.titel = 'x'; },
  'a field of a panel': (d) => { d.panels.at(-1).discription = 'x'; },
  'a field of a query': (d) => { d.panels.at(-1).targets[0].legend = 'x'; },
  'the type of a query\'s field': (d) => { d.panels.at(-1).targets[0].instant = 'yes'; },
  'an enumeration': (d) => { d.panels.find((p) => p.type === 'timeseries').options.tooltip.mode = 'several'; },
  'a field of the options': (d) => { d.panels.find((p) => p.type === 'timeseries').options.legends = {}; },
  'a panel of another kind': (d) => { d.panels.at(-1).type = 'grph'; },
  'a variable': (d) => { d.templating.list[0].type = 'datasources'; },
};
const damaged = Object.values(damage).map((f, i) => {
  const d = structuredClone(dashboards.find(([, v]) => v.panels.some((p) => p.type === 'timeseries'))[1]);
  f(d);
  return [`damaged${i}`, d];
});
const refused = compile(damaged);
const missed = Object.keys(damage).filter((_, i) => !refused.includes(`damaged${i}.ts(`));
if (missed.length > 0) {
  console.error(`the types accept a dashboard with damage to ${missed.join(', ')}`);
  process.exit(1);
}
console.log(`${dashboards.length} dashboards are of Grafana's types; ${damaged.length} damaged ones are not`);
