// The types that the dashboards must have; used by the files that typed.py writes.
import type { AnnotationQuery, Dashboard } from '@grafana/schema';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type {
  FieldConfig,
  Options as TimeSeriesOptions,
} from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON holds the values of Grafana's enumerations, not their names.
type Plain<T> = T extends string
  ? `${T}`
  : T extends (infer Element)[]
    ? Plain<Element>[]
    : T extends object
      ? { [Key in keyof T]: Plain<T[Key]> }
      : T;

// What Grafana's Prometheus data source reads of an annotation, beyond the general schema.
type Mark = AnnotationQuery & {
  expr?: string;
  step?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean;
};

export type Page = Omit<Plain<Dashboard>, 'annotations'> & {
  annotations: { list: Plain<Mark>[] };
};
export type Stat = Plain<StatOptions>;
export type TimeSeries = Plain<TimeSeriesOptions>;
export type Curve = Plain<FieldConfig>;
