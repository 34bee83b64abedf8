// Saves benchmark reports, each as a JSON file in one folder, so that users can keep, compare and attach them. This
// file does not use VS Code.
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { BenchmarkReport } from '../../engine/protocol';
import type { SavedRun } from '../../webview/messages';

export class ReportStore {
	readonly directory: string;

	constructor(directory: string) {
		this.directory = directory;
	}

	/** Saves a report and returns its id. The id is the name of the file without its extension; ids sort by time. */
	async save(report: BenchmarkReport): Promise<string> {
		await mkdir(this.directory, { recursive: true });
		const time = new Date(report.createdAt);
		const stamp = (Number.isNaN(time.getTime()) ? new Date() : time).toISOString().replace(/[:.]/g, '-');
		const model = report.model.name.replace(/[^\w.-]+/g, '_').slice(0, 60);
		const id = `${stamp}_${model}`;
		const file = this.fileOf(id);
		await writeFile(`${file}.part`, `${JSON.stringify(report, null, 2)}\n`);
		await rename(`${file}.part`, file);
		return id;
	}

	/** Returns all readable reports, the latest first. A damaged file or a file of another shape is left out. */
	async list(): Promise<SavedRun[]> {
		const names = await readdir(this.directory).catch(() => []);
		const ids = names
			.filter((name) => name.endsWith('.json'))
			.map((name) => name.slice(0, -'.json'.length))
			.sort()
			.reverse();
		const runs: SavedRun[] = [];
		for (const id of ids) {
			const report = await this.load(id);
			if (report) runs.push({ id, createdAt: report.createdAt, model: report.model.name, kernels: report.kernels });
		}
		return runs;
	}

	/** Returns the path of the report with this id. */
	fileOf(id: string): string {
		return path.join(this.directory, `${id}.json`);
	}

	/** Resolves to undefined when there is no such report or when it cannot be read. */
	async load(id: string): Promise<BenchmarkReport | undefined> {
		if (path.basename(id) !== id) return undefined;
		try {
			const value: unknown = JSON.parse(await readFile(this.fileOf(id), 'utf8'));
			return isReport(value) ? value : undefined;
		} catch {
			return undefined;
		}
	}
}

function isReport(value: unknown): value is BenchmarkReport {
	if (typeof value !== 'object' || value === null) return false;
	const report = value as Partial<BenchmarkReport>;
	return (
		typeof report.createdAt === 'string' &&
		typeof report.model?.name === 'string' &&
		typeof report.machine?.cpu === 'string' &&
		typeof report.memory?.peakBytes === 'number' &&
		Array.isArray(report.results) &&
		report.results.every((result) => typeof result?.test === 'string' && typeof result.milliseconds?.mean === 'number')
	);
}
