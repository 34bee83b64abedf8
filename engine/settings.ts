// The settings of the engine: what a client sends, and what loading, completion and chat go by.

/** Sent as `initializationOptions.settings` and again as `workspace/didChangeConfiguration` with `{ settings: { hearth } }`. */
export interface EngineSettings {
	/** Absolute path of a GGUF; empty: none chosen. It chats, and completes where no other one is chosen for that. */
	modelPath: string;
	/** The model that completes; empty: the one that chats. */
	completionModelPath: string;
	/** A smaller model of the same vocabulary that guesses ahead for the one that chats; empty: none. */
	draftModelPath: string;
	/** 0: all physical cores. */
	threads: number;
	/** Positions a conversation or completion may span. */
	contextTokens: number;
	kernels: 'auto' | 'reference' | 'portable' | 'avx2' | 'avx512' | 'amx' | 'neon';
	/** What computes; `auto`: Metal where there is a usable one, else the CPU. */
	backend: 'auto' | 'metal' | 'cpu';
	/** Metal: prompts on the GPU's matrix units; faster, but tokens may then depend on how a prompt was cut into steps. */
	matrixUnits: boolean;
	rope: 'reference' | 'llamacpp';
	/** How the KV cache keeps keys and values; `q8_0` takes half the memory and is a little less exact. */
	cacheType: 'f16' | 'q8_0';
	/** Guess tokens ahead and verify them together. Changes speed, never a token. */
	speculation: boolean;
	/** Move weights into a faster layout while idle, where memory allows. Changes speed, never a token. */
	repackWeights: boolean;
	/** Minutes without work after which the model is unloaded, until it is asked for again; 0: never. */
	unloadAfterMinutes: number;
	completion: {
		maxTokens: number;
		multiline: 'auto' | 'always' | 'never';
		/** Tokens of the file before and after the cursor shown to the model. */
		prefixTokens: number;
		suffixTokens: number;
		/** Tokens of other files shown to models that know repositories. */
		relatedTokens: number;
	};
	chat: {
		reasoningEffort: 'low' | 'medium' | 'high';
		maxTokens: number;
		/** null: what the model's publishers recommend. */
		temperature: number | null;
		topP: number | null;
		/** Extra instructions, as a developer or system message; empty: none. */
		instructions: string;
	};
}

/** What a model is chosen for. */
export type ModelRole = 'chat' | 'completion';
