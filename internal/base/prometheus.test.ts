import { expect, test } from 'vitest';
import { exponentialBounds, Histogram, PrometheusText } from './prometheus.ts';

test('metrics, labels and histograms in the text format', () => {
  const text = new PrometheusText('x_');
  text.add('gauge', 'up', 'Whether it is', 1);
  text.add('counter', 'calls', 'By name', [[{ name: 'a "b"\\\n', code: 5 }, 2]]);
  text.add('gauge', 'none', 'Not there', []);
  const seconds = new Histogram(exponentialBounds(0.001, 2, 3));
  for (const value of [0.0005, 0.001, 0.003, 9]) seconds.observe(value);
  text.histogram('seconds', 'How long', seconds);
  expect(text.toString().split('\n')).toEqual([
    '# HELP x_up Whether it is',
    '# TYPE x_up gauge',
    'x_up 1',
    '# HELP x_calls By name',
    '# TYPE x_calls counter',
    'x_calls{name="a \\"b\\"\\\\\\n",code="5"} 2',
    '# HELP x_seconds How long',
    '# TYPE x_seconds histogram',
    'x_seconds_bucket{le="0.001"} 2',
    'x_seconds_bucket{le="0.002"} 2',
    'x_seconds_bucket{le="0.004"} 3',
    'x_seconds_bucket{le="+Inf"} 4',
    `x_seconds_sum ${0.0005 + 0.001 + 0.003 + 9}`,
    'x_seconds_count 4',
    '',
  ]);
});
