// What the engine does for all its clients, whichever protocol they speak. Each service has a typed interface and knows
// no connection. Two services exist once for each client: `CompletionService` and `ModelChoice`.
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
	/** Whether the command line gave the model. The settings of a new client do not replace such a model. */
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

	/**
	 * Whether the models of a new client's settings may replace those in use. They may not where other clients are
	 * connected, or where the command line gave the model.
	 */
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
