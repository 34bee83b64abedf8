// The bars that the engine must reach beside llama.cpp and the machine's ceilings, checked on a report. Ratios within
// one run hold on any machine of the kind, however fast it is at the moment.
import type { BenchmarkReport } from './report';

interface Bar {
	what: string;
	/** Undefined where the report lacks the figure. */
	value: (report: BenchmarkReport) => number | undefined;
	/** The least value that will do where `least` is set, otherwise the most. */
	limit: number;
	least: boolean;
	unit: '×' | '%' | 's' | 'MB';
}

export interface CheckedBar extends Omit<Bar, 'value'> {
	value: number;
	ok: boolean;
}

const ratio = (name: RegExp) => (report: BenchmarkReport) =>
	Object.entries(report.ratios ?? {}).find(([key]) => name.test(key))?.[1];
const result = (test: RegExp) => (report: BenchmarkReport) =>
	report.results.find((one) => one.engine === 'hearth' && test.test(one.test));
const bar = (what: string, least: boolean, limit: number, unit: Bar['unit'], value: Bar['value']): Bar => ({
	...{ what, least, limit, unit, value },
});

const BARS: readonly Bar[] = [
	bar('prefill 512 vs llama.cpp', true, 5, '×', ratio(/^pp512 vs/)),
	bar('prefill 512 of the int8 peak', true, 65, '%', (report) =>
		report.machine.arithmetic === 'float' ? undefined : percent(result(/^pp512$/)(report)?.computeShare),
	),
	bar('prefill 4096 vs llama.cpp', true, 5, '×', ratio(/^pp4096 vs/)),
	bar('decode, 1 stream, vs llama.cpp', true, 1.4, '×', ratio(/^tg\d+ vs/)),
	bar('decode of the read bandwidth', true, 90, '%', (report) => percent(result(/^tg\d+$/)(report)?.bandwidthShare)),
	bar('decode, 8 streams, vs llama.cpp', true, 2.2, '×', ratio(/^b8x\d+ vs/)),
	bar('decode, 20 streams, vs llama.cpp', true, 3, '×', ratio(/^b20x\d+ vs/)),
	bar('verify step of 8 over a step of 1', false, 3.3, '×', ratio(/^verify8 \/ step1$/)),
	bar('code edit with over without speculation', true, 2.5, '×', ratio(/^edit \/ edit-plain$/)),
	bar('load to first token', false, 1.5, 's', (report) => {
		const loaded = result(/^load\+forward$/)(report);
		return loaded && loaded.milliseconds.mean / 1000;
	}),
	bar('load to first token vs llama.cpp', true, 5, '×', ratio(/^load\+forward vs/)),
	bar(
		'memory beyond the file',
		false,
		600,
		'MB',
		({ memory }) => Math.max(0, memory.peakBytes - memory.mappedBytes) / 1e6,
	),
	bar('decode at depth over none', true, 0.75, '×', ratio(/^tg\d+@d\d+ \/ d0$/)),
];

/** All bars whose figure the report has. */
export function checkBars(report: BenchmarkReport): CheckedBar[] {
	return BARS.flatMap(({ value: read, ...rest }) => {
		const value = read(report);
		if (value === undefined || !Number.isFinite(value)) return [];
		return [{ ...rest, value, ok: rest.least ? value >= rest.limit : value <= rest.limit }];
	});
}

function percent(share: number | undefined): number | undefined {
	return share === undefined ? undefined : share * 100;
}
