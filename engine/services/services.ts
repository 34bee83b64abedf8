// What the engine does for all its clients, whichever protocol they speak: each service has a typed face of its own and knows no
// connection. A client adds what is its own: `CompletionService` and `ModelChoice`.
import { Activity } from './activity';
import { BenchmarkService } from './benchmark';
import { ChatService } from './chat';
import { DownloadService } from './downloads';
import { IdleUnloader } from './idle-unloader';
import type { OpenModel } from './model-host';
import { Models } from './models';
import { SelfTestService } from './selftest';
import { StatusBoard, type StatusListener, statusOf } from './status';

export class Services {
	readonly models: Models;
	readonly activity: Activity;
	readonly idle: IdleUnloader;
	readonly status: StatusBoard;
	readonly downloads: DownloadService;
	readonly chat: ChatService;
	readonly benchmark: BenchmarkService;
	readonly selfTest: SelfTestService;
	/** Whether the model was given on the command line: a client's settings do not replace it at its start. */
	readonly #fixedModel: boolean;

	constructor(options: { fixedModel: boolean; open?: OpenModel }) {
		this.#fixedModel = options.fixedModel;
		const changed = () => {
			this.idle.restart();
			this.status.changed();
		};
		this.models = new Models(changed, options.open);
		this.activity = new Activity(changed);
		this.idle = new IdleUnloader(this.models, this.activity);
		this.downloads = new DownloadService(() => this.status.changed());
		this.status = new StatusBoard(() => statusOf(this.models, this.activity, this.downloads.statuses));
		this.chat = new ChatService(this.models, this.activity);
		this.benchmark = new BenchmarkService(this.models, this.activity);
		this.selfTest = new SelfTestService(this.models);
	}

	/** Whether a new client's own models may replace those in use: not what others use, nor what the command line gave. */
	mayReplaceModels(client: StatusListener): boolean {
		return !this.#fixedModel && this.status.hasNoneBut(client);
	}

	/** Unloads the models once their running steps have ended. */
	async close(): Promise<void> {
		this.status.close();
		this.idle.close();
		await this.downloads.close();
		await this.models.close();
	}
}
