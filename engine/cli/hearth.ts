// The `hearth` command line. Results go to standard output (JSON with --json), messages to standard error. Any error is
// one line and exit code 1.
import { CONVERT_CHILD } from '../convert/child-name';
import { messageOf, quote } from '../quote';
import { VERSION } from '../version';
import { HelpRequested, InterruptedError, OutputError, UsageError, writeOutput } from './command';

interface Command {
	summary: string;
	run(args: string[]): Promise<void>;
}

// Each command is imported on use: `hearth --help` should not load a tokenizer or the addon.
const COMMANDS: Record<string, Command> = {
	info: {
		summary: 'architecture, sizes, tensors and tokenizer of a model file',
		run: async (args) => (await import('./info')).info(args),
	},
	models: {
		summary: 'models on this machine, and those that can be fetched',
		run: async (args) => (await import('./models')).models(args),
	},
	fetch: {
		summary: 'download a model',
		run: async (args) => (await import('./fetch')).fetchModel(args),
	},
	tokenize: {
		summary: 'text on standard input to token ids',
		run: async (args) => (await import('./tokenize')).tokenize(args),
	},
	detokenize: {
		summary: 'token ids on standard input to bytes',
		run: async (args) => (await import('./tokenize')).detokenize(args),
	},
	logits: {
		summary: 'raw logits of a token sequence, to a file',
		run: async (args) => (await import('./logits')).logits(args),
	},
	generate: {
		summary: 'continue a prompt, or answer it as a chat',
		run: async (args) => (await import('./generate')).generate(args),
	},
	bench: {
		summary: 'load time, prefill, decode and batch throughput, memory',
		run: async (args) => (await import('./bench')).bench(args),
	},
	profile: {
		summary: 'where the time of a step goes, as a table and a trace',
		run: async (args) => (await import('./profile')).profile(args),
	},
	selftest: {
		summary: 'every kernel of this machine against plain references',
		run: async (args) => (await import('./selftest')).selftest(args),
	},
	serve: {
		summary: 'the language server, for editors',
		run: async (args) => (await import('./serve')).serve(args),
	},
	convert: {
		summary: 'a Hugging Face folder (safetensors) to a GGUF file',
		run: async (args) => (await import('./convert')).convert(args),
	},
	synth: {
		summary: 'write a gpt-oss model of any size with seeded random weights',
		run: async (args) => (await import('./synth')).synth(args),
	},
};

const HELP = `hearth ${VERSION}: gpt-oss on your own machine

usage: hearth COMMAND [arguments]

commands:
${Object.entries(COMMANDS)
	.map(([name, command]) => `  ${name.padEnd(12)}${command.summary}`)
	.join('\n')}

"hearth COMMAND --help" explains a command; "hearth --version" prints the version.
`;

/** Runs one command line and returns the exit code. Never throws. */
export async function main(argv: string[]): Promise<number> {
	const [name, ...args] = argv;
	const label = name !== undefined && Object.hasOwn(COMMANDS, name) ? `hearth ${name}` : 'hearth';
	try {
		await run(name, args);
		return Number(process.exitCode ?? 0);
	} catch (error) {
		if (error instanceof InterruptedError) return 130;
		// The reader of our output (head, less) has seen enough, which is no error.
		if (error instanceof OutputError && error.code === 'EPIPE') return 0;
		const hint = error instanceof UsageError ? ` (see "${label} --help")` : '';
		process.stderr.write(`${label}: ${messageOf(error)}${hint}\n`);
		return 1;
	}
}

async function run(name: string | undefined, args: string[]): Promise<void> {
	try {
		if (name === undefined) throw new UsageError('no command given');
		if (name === '--help' || name === '-h' || name === 'help') throw new HelpRequested(HELP);
		if (name === '--version' || name === '-v') throw new HelpRequested(`${VERSION}\n`);
		if (name === CONVERT_CHILD) {
			process.exitCode = await (await import('../convert/apart')).convertForEngine();
			return;
		}
		const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
		if (!command) throw new UsageError(`there is no command ${quote(name)}`);
		await command.run(args);
	} catch (error) {
		if (!(error instanceof HelpRequested)) throw error;
		await writeOutput(error.text);
	}
}

// A write fails where the pipe is closed or the disk is full. Whoever wrote it gets the error, too: for a result, that
// ends the command; for a message, it harms nobody. So the event needs no handler of its own.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

void main(process.argv.slice(2)).then((code) => {
	process.exitCode = code;
});
