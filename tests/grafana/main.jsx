// Draws a dashboard of monitoring/dashboards with Grafana's own components, from a live Prometheus.
// Grafana itself is not here: queries, variables and the grid are done below, the panels are
// Grafana's. Page address: ?dashboard=dm2-overview&prometheus=URL&run=NAME&from=SECONDS&to=SECONDS
import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import {
  EventBusSrv,
  FieldType,
  LoadingState,
  ThemeContext,
  createTheme,
  dateTime,
  getDisplayProcessor,
  toDataFrame,
} from '@grafana/data';
import {
  BigValue,
  GlobalStyles,
  PanelChrome,
  PanelContextProvider,
  TimeSeries,
} from '@grafana/ui';

const PAGES = import.meta.glob('../../monitoring/dashboards/*.json', { eager: true });
const LEAST_STEP = 15;
const CELL = 30;
const GAP = 8;

const address = new URLSearchParams(location.search);
const asked = {
  dashboard: address.get('dashboard') ?? 'dm2-overview',
  prometheus: address.get('prometheus') ?? 'http://127.0.0.1:9090',
  run: address.get('run') ?? '',
  to: Number(address.get('to') ?? Date.now() / 1000),
  width: Number(address.get('width') ?? 1600),
};
asked.from = Number(address.get('from') ?? asked.to - 900);
const theme = createTheme({ colors: { mode: address.get('theme') ?? 'dark' } });
const timeRange = {
  from: dateTime(asked.from * 1000),
  to: dateTime(asked.to * 1000),
  raw: { from: dateTime(asked.from * 1000), to: dateTime(asked.to * 1000) },
};

function filled(text, width) {
  const step = stepFor(width);
  return text
    .replaceAll('$__rate_interval', `${Math.max(4 * LEAST_STEP, step + LEAST_STEP)}s`)
    .replaceAll('${run}', asked.run)
    .replaceAll('$run', asked.run)
    .replaceAll('$agent', '.+')
    .replaceAll('$role', '.+');
}

function stepFor(width) {
  return Math.max(LEAST_STEP, Math.ceil((asked.to - asked.from) / width));
}

function legendOf(format, labels) {
  return format.replace(/\{\{\s*([a-z_]+)\s*\}\}/g, (_, name) => labels[name] ?? '');
}

async function framesOf(target, width) {
  const step = stepFor(width);
  const query = new URLSearchParams({
    query: filled(target.expr, width),
    start: Math.floor(asked.from / step) * step,
    end: asked.to,
    step,
  });
  const answer = await (await fetch(`${asked.prometheus}/api/v1/query_range?${query}`)).json();
  if (answer.status !== 'success') {
    throw new Error(answer.error);
  }
  return answer.data.result.map(({ metric, values }) => {
    const name = legendOf(target.legendFormat, metric);
    return toDataFrame({
      refId: target.refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: values.map(([time]) => time * 1000) },
        {
          name: 'Value',
          type: FieldType.number,
          labels: metric,
          values: values.map(([, value]) => Number(value)),
          config: { displayNameFromDS: name },
        },
      ],
    });
  });
}

// Grafana's own merging of defaults and overrides needs its plugins; ours has one kind of override.
function configured(frames, panel) {
  const { defaults, overrides } = panel.fieldConfig;
  const count = frames.length;
  frames.forEach((frame, index) => {
    for (const field of frame.fields) {
      if (field.type !== FieldType.number) continue;
      const name = field.config.displayNameFromDS;
      const config = { ...defaults, custom: { ...defaults.custom }, displayNameFromDS: name };
      for (const { matcher, properties } of overrides) {
        if (matcher.options === name) config.color = properties[0].value;
      }
      field.config = config;
      field.state = { seriesIndex: index, multipleFrames: count > 1, displayName: name };
    }
    for (const field of frame.fields) {
      field.display = getDisplayProcessor({ field, theme, timeZone: 'utc' });
    }
  });
  return frames;
}

function Stat({ panel, frames, width, height }) {
  const [time, field] = frames[0].fields;
  const known = field.values.filter((value) => Number.isFinite(value));
  const last = known.at(-1);
  const y = {
    ...field,
    state: { ...field.state, range: { min: Math.min(...known), max: Math.max(...known), delta: 0 } },
  };
  return (
    <BigValue
      value={field.display(last)}
      sparkline={panel.options.graphMode === 'none' ? undefined : { x: time, y }}
      colorMode={panel.options.colorMode}
      graphMode={panel.options.graphMode}
      textMode={panel.options.textMode}
      justifyMode={panel.options.justifyMode}
      width={width}
      height={height}
      theme={theme}
    />
  );
}

function Curves({ panel, frames, width, height }) {
  return (
    <TimeSeries
      frames={frames}
      structureRev={1}
      width={width}
      height={height}
      timeRange={timeRange}
      timeZone="utc"
      legend={panel.options.legend}
      options={panel.options}
    />
  );
}

function Panel({ panel }) {
  const [state, setState] = useState({ loading: LoadingState.Loading });
  const cell = (asked.width + GAP) / 24;
  const place = panel.gridPos;
  const box = {
    position: 'absolute',
    left: place.x * cell,
    top: place.y * (CELL + GAP),
    width: place.w * cell - GAP,
    height: place.h * (CELL + GAP) - GAP,
  };
  useEffect(() => {
    if (panel.type === 'row') {
      document.body.dataset.done = Number(document.body.dataset.done ?? 0) + 1;
      return;
    }
    Promise.all(panel.targets.map((target) => framesOf(target, Math.floor(box.width))))
      .then((found) => setState({ loading: LoadingState.Done, frames: found.flat() }))
      .catch((error) => setState({ loading: LoadingState.Error, error: String(error) }))
      .finally(() => {
        document.body.dataset.done = Number(document.body.dataset.done ?? 0) + 1;
      });
  }, []);
  if (panel.type === 'row') {
    return <h4 style={{ ...box, margin: 0, paddingTop: 8, fontWeight: 500 }}>{panel.title}</h4>;
  }
  const { frames, error } = state;
  const Drawn = panel.type === 'stat' ? Stat : Curves;
  return (
    <div style={box} data-panel={panel.title} data-error={error} data-curves={frames?.length}>
      <PanelChrome
        title={panel.title}
        description={panel.description}
        width={box.width}
        height={box.height}
        padding={panel.type === 'stat' ? 'sm' : 'md'}
        loadingState={state.loading}
      >
        {(width, height) => {
          if (error) return <div style={{ color: theme.colors.error.text }}>{error}</div>;
          if (!frames) return null;
          if (!frames.length) return <div style={{ textAlign: 'center' }}>No data</div>;
          const data = configured(frames, panel);
          return <Drawn panel={panel} frames={data} width={width} height={height} />;
        }}
      </PanelChrome>
    </div>
  );
}

function Page({ dashboard }) {
  const bottom = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const height = bottom * (CELL + GAP);
  useEffect(() => {
    document.body.dataset.panels = dashboard.panels.length;
    document.body.dataset.height = height + 72;
  }, []);
  return (
    <div style={{ padding: 16, width: asked.width + 32, background: theme.colors.background.canvas }}>
      <h2 style={{ margin: '0 0 12px', height: 28 }}>
        {dashboard.title} <small style={{ opacity: 0.7 }}>run {asked.run}</small>
      </h2>
      <div style={{ position: 'relative', height }}>
        {dashboard.panels.map((panel) => (
          <Panel key={panel.id} panel={panel} />
        ))}
      </div>
    </div>
  );
}

const page = Object.values(PAGES)
  .map((loaded) => loaded.default)
  .find(({ uid }) => uid === asked.dashboard);

createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <PanelContextProvider value={{ eventsScope: 'page', eventBus: new EventBusSrv() }}>
      <Page dashboard={page} />
    </PanelContextProvider>
  </ThemeContext.Provider>
);
