// The page's end of the channel to the extension host.

interface VsCodeApi {
	postMessage(message: unknown): void;
	getState(): unknown;
	setState(state: unknown): void;
}

declare function acquireVsCodeApi(): VsCodeApi;

export interface Host<ToHost, FromHost, State> {
	post(message: ToHost): void;
	onMessage(listener: (message: FromHost) => void): void;
	/** What the page kept for itself. It survives hiding and reloading the page. */
	readonly state: State | undefined;
	keep(state: State): void;
}

/** Connects to the host. A page may call this only once: VS Code hands out its interface only once. */
export function connectHost<ToHost, FromHost, State = never>(): Host<ToHost, FromHost, State> {
	const api = acquireVsCodeApi();
	return {
		post: (message) => api.postMessage(message),
		onMessage: (listener) => {
			window.addEventListener('message', (event: MessageEvent<FromHost>) => listener(event.data));
		},
		get state() {
			return api.getState() as State | undefined;
		},
		keep: (state) => api.setState(state),
	};
}
