// What the status bar says about the engine. This file does not use VS Code.
import type { DownloadStatus, EngineStatus, ModelSummary } from '../../engine/protocol';
import { formatBytes, formatRate, gpuName } from '../../engine/units';
import type { EngineView } from '../../webview/messages';

const MAX_NAME = 24;
/** The end of a file's name that says how its weights are quantised. It is left out, because the tooltip has it. */
const QUANTISATION = /[-_. ](?:i?q\d\w*|tq\d\w*|mxfp4\w*|bf16|f16|f32)$/i;

interface StatusText {
	/** May contain `$(icon)` references. */
	text: string;
	/** The state in words, for screen readers and for the first line of the tooltip. */
	summary: string;
	/** The status bar colours what the user has to act on. */
	severity: 'none' | 'warning' | 'error';
}

interface StatusFacts {
	engine: EngineView;
	/**
	 * Whether completions are on for the language of the active editor. Without an editor: whether they are on at all.
	 */
	completionsEnabled: boolean;
}

export function statusText(facts: StatusFacts): StatusText {
	const shown = stateText(facts);
	const downloads = (facts.engine.status?.downloads ?? []).filter(isActive);
	if (downloads.length === 0) return shown;
	const percent = downloads.map(percentDone).find((done) => done !== undefined);
	const names = downloads.map(({ name }) => name).join(', ');
	const done = percent === undefined ? '' : ` ${percent} %`;
	return {
		...shown,
		text: `${shown.text}  $(cloud-download)${done}`,
		summary: `${shown.summary}, downloading ${names}${done}`,
	};
}

/** Whether the download receives bytes or waits for them. */
export function isActive({ state }: DownloadStatus): boolean {
	return state !== 'paused' && state !== 'failed' && state !== 'done';
}

/** Whole percent. Undefined while the size is not known. */
export function percentDone({ receivedBytes, totalBytes }: DownloadStatus): number | undefined {
	return totalBytes ? Math.floor((100 * receivedBytes) / totalBytes) : undefined;
}

/** The progress of a download as a notification shows it, for example: 43 % of 12.1 GB, 45 MB/s, 3 min left. */
export function downloadText(status: DownloadStatus): string {
	const { state, receivedBytes, totalBytes, bytesPerSecond, error } = status;
	const done = totalBytes
		? `${percentDone(status)} % of ${formatBytes(totalBytes)}`
		: receivedBytes > 0
			? formatBytes(receivedBytes)
			: '';
	switch (state) {
		case 'connecting':
			return ['connecting', done].filter(Boolean).join(', ');
		case 'checking':
			return `checking what is there already, ${done}`;
		case 'waiting':
			return `${done}; ${error ?? 'the connection broke'}; trying again…`;
		case 'downloading': {
			const left = totalBytes && bytesPerSecond > 0 ? (totalBytes - receivedBytes) / bytesPerSecond : undefined;
			return [
				done,
				...(bytesPerSecond > 0 ? [`${formatBytes(bytesPerSecond)}/s`] : []),
				...(left === undefined ? [] : [`${duration(left)} left`]),
			].join(', ');
		}
		case 'paused':
			return `paused at ${done || 'its beginning'}`;
		case 'failed':
			return `stopped: ${error ?? 'it failed'}`;
		case 'done':
			return 'complete';
	}
}

function duration(seconds: number): string {
	if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
	if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
	return `${(seconds / 3600).toFixed(1)} h`;
}

function stateText({ engine, completionsEnabled }: StatusFacts): StatusText {
	const status = engine.status;
	const name = shorten(namesOf(status));
	switch (engine.state) {
		case 'off':
		case 'no-model':
			return { text: '$(flame) Hearth: no model', summary: 'No model chosen', severity: 'warning' };
		case 'starting':
			return { text: '$(loading~spin) Hearth', summary: 'Starting the engine', severity: 'none' };
		case 'restarting':
			return {
				text: '$(loading~spin) Hearth: restarting',
				summary: 'The engine stopped and is being started again',
				severity: 'none',
			};
		case 'loading':
			return { text: '$(loading~spin) Hearth: loading', summary: loadingText(status), severity: 'none' };
		case 'failed':
			return { text: '$(error) Hearth: stopped', summary: 'The engine is not running', severity: 'error' };
		case 'error':
			return { text: '$(error) Hearth: error', summary: 'The engine reported an error', severity: 'error' };
		case 'busy':
			return {
				text: `$(sync~spin) ${name}${speed(status)}`,
				summary: `${name}, ${activity(status)}`,
				severity: 'none',
			};
		case 'unloaded':
			return {
				text: `$(${completionsEnabled ? 'flame' : 'circle-slash'}) ${name}: idle`,
				summary: `${name}, idle (unloaded), loads again when it is needed`,
				severity: 'none',
			};
		case 'ready':
			return {
				text: `$(${completionsEnabled ? 'flame' : 'circle-slash'}) ${name}${speed(status)}`,
				summary: `${name}, ready${completionsEnabled ? '' : ', completions are off'}`,
				severity: 'none',
			};
	}
}

/** What the status bar says while a model loads. With two models, the other one may already be loaded. */
function loadingText(status: EngineStatus | undefined): string {
	const { completionModel, model, loading = [] } = status ?? {};
	if (loading.length > 1 || !(completionModel ?? model)) return 'Loading the model';
	if (completionModel && loading[0] === 'chat') return 'Loading the model that chats; completions are ready';
	return model && loading[0] === 'completion' ? 'Loading the model that completes; chat is ready' : 'Loading the model';
}

/** The facts of the tooltip as pairs of label and value. */
export function statusDetails(status: EngineStatus): [string, string][] {
	const details: [string, string][] = [];
	const { model, completionModel, memory, cache, speed: rate, lastCompletion } = status;
	if (model) {
		const gpu = gpuName(model.backend);
		details.push([completionModel ? 'Chat model' : 'Model', describe(model)]);
		details.push([
			'Compute',
			gpu !== undefined
				? `${gpu}, ${model.device ?? 'the GPU'}`
				: `CPU, ${model.kernels} kernels, ${model.threads} threads`,
		]);
		if (model.backendNote !== undefined) details.push(['Backend', model.backendNote]);
		details.push(['Chat format', model.chatText]);
		if (model.draft !== undefined) details.push(['Guesses ahead', model.draft]);
		if (model.draftProblem !== undefined) details.push(['Not guessing ahead', model.draftProblem]);
	}
	if (completionModel) {
		details.push(['Completion model', `${describe(completionModel)}, ${completionModel.completionFormat}`]);
	}
	if (rate && rate.decode > 0) details.push(['Generating', `${formatRate(rate.decode)} tok/s`]);
	if (rate && rate.prefill > 0) details.push(['Reading prompts', `${formatRate(rate.prefill)} tok/s`]);
	const mapped = memory.mappedBytes > 0 ? `, of a mapped file of ${formatBytes(memory.mappedBytes)}` : '';
	details.push(['Memory', `${formatBytes(memory.residentBytes)} (peak ${formatBytes(memory.peakBytes)})${mapped}`]);
	const { need } = status;
	if (need) {
		const parts = `weights ${formatBytes(need.weightBytes)}, cache ${formatBytes(need.cacheBytes)}, computing ${formatBytes(need.scratchBytes)}`;
		const draft = need.draftBytes === undefined ? '' : `; ${formatBytes(need.draftBytes)} of it to guess ahead`;
		details.push(['Needs', `${formatBytes(need.totalBytes)} at most (${parts}${draft})`]);
	}
	for (const download of status.downloads ?? []) details.push([download.name, downloadText(download)]);
	if (cache) {
		details.push([
			'KV cache',
			`${cache.usedTokens.toLocaleString('en')} of ${cache.capacityTokens.toLocaleString('en')} tokens, ${formatBytes(memory.cacheBytes)}`,
		]);
	}
	if (status.error !== undefined) details.push(['Problem', status.error]);
	if (lastCompletion) {
		details.push(['Last completion', `${lastCompletion.outcome}, ${Math.round(lastCompletion.milliseconds)} ms`]);
	}
	details.push(['Engine', `${status.version}, process ${status.processId}`]);
	return details;
}

function describe({ name, ownName, architecture, fileBytes }: ModelSummary): string {
	const named = ownName === undefined ? '' : `“${ownName}”, `;
	return `${name} (${named}${architecture}, ${formatBytes(fileBytes)})`;
}

/** The names of both models when there are two: the completion model works more often, and the chat model is larger. */
function namesOf(status: EngineStatus | undefined): string {
	const { model, completionModel } = status ?? {};
	const names = [completionModel, model].flatMap((given) => (given ? [given.name.replace(QUANTISATION, '')] : []));
	return names.length > 0 ? names.join(' + ') : 'Hearth';
}

/** Shortens a name. All extensions share the status bar, so a file's long name must not push the others out. */
function shorten(name: string): string {
	return name.length > MAX_NAME ? `${name.slice(0, MAX_NAME - 1).trimEnd()}…` : name;
}

function speed(status: EngineStatus | undefined): string {
	const decode = status?.speed?.decode ?? 0;
	return decode > 0 ? `  ${formatRate(decode)} tok/s` : '';
}

function activity(status: EngineStatus | undefined): string {
	const active = status?.active;
	if (active?.benchmark) return 'running a benchmark';
	if (active?.chat) return 'answering';
	if (active?.completion) return 'completing';
	return 'working';
}
