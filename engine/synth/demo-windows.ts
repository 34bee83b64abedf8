// The windows that the demo model learns: which token follows which. A window has as many tokens as the model's
// attention reaches back.
import { Harmony, type Prompt, type Turn } from '../families/harmony/harmony';
import type { Tokenizer } from '../tokenizer/tokenizer';
import { demoChats, demoCode } from './demo-text';
import { fillRandom } from './random';

interface TrainingWindow {
	/** The tokens of the window. The last one comes first. */
	tokens: number[];
	/** The token that follows. */
	next: number;
}

/** How many questions of random tokens teach the answer to all other questions. */
const RANDOM_QUESTIONS = 40;

/** Windows that agree in this many last tokens, and in those that decide, count as one. */
const NEAR = 9;

/**
 * All windows of `length` tokens in the demo text that only one token follows. Each window comes again with random
 * tokens in the places that do not decide, so that the rest of a file or conversation does not matter to the model.
 */
export function trainingWindows(tokenizer: Tokenizer, length: number, seed: number): TrainingWindow[] {
	const random = randomBelow(seed);
	const windows = new Map<string, TrainingWindow>();
	for (const { tokens, learnFrom } of sequences(new Harmony(tokenizer), random)) {
		for (let i = learnFrom; i < tokens.length; i++) {
			const window = { tokens: tokens.slice(i - length, i).reverse(), next: tokens[i]! };
			windows.set(`${window.tokens} ${window.next}`, window);
		}
	}

	const successors = Array.from({ length: length + 1 }, () => new Map<string, Set<number>>());
	for (const { tokens, next } of windows.values()) {
		for (let m = 1; m <= length; m++) {
			const key = tokens.slice(0, m).join();
			const set = successors[m]!.get(key);
			if (set) set.add(next);
			else successors[m]!.set(key, new Set([next]));
		}
	}
	const result = new Map<string, TrainingWindow>();
	for (const { tokens, next } of windows.values()) {
		let deciding = 1;
		while (deciding <= length && successors[deciding]!.get(tokens.slice(0, deciding).join())!.size > 1) deciding++;
		if (deciding > length) continue;
		const kept = Math.max(4, deciding + 1);
		const key = `${tokens.slice(0, Math.max(kept, NEAR))} ${next}`;
		if (result.has(key)) continue;
		result.set(key, { tokens, next });
		// A window that a token farther back decides holds more tokens that must not matter.
		const variations = deciding > 4 ? 3 : 1;
		for (let i = 0; i < variations; i++) {
			const varied = tokens.map((token, at) => (at < kept ? token : random(tokenizer.vocabulary.size)));
			result.set(`${key} ${i}`, { tokens: varied, next });
		}
	}
	return [...result.values()];
}

function* sequences(
	harmony: Harmony,
	random: (limit: number) => number,
): Iterable<{ tokens: number[]; learnFrom: number }> {
	const { tokenizer, tokens: special } = harmony;
	const prompt = (turns: readonly Turn[], more: Partial<Prompt> = {}) => [
		...harmony.encode({ currentDate: '2026-01-01', reasoningEffort: 'medium', turns, ...more }),
	];
	const text = (value: string) => [...tokenizer.encode(value)];

	for (const code of demoCode) {
		const before = prompt([{ role: 'user', content: 'File: demo' }], { answer: '' });
		yield { tokens: [...before, ...text(code), special.return], learnFrom: before.length };
	}

	const histories: Turn[][] = [
		[],
		...demoChats.map(({ answer }): Turn[] => [
			{ role: 'user', content: 'x' },
			{ role: 'assistant', content: answer },
		]),
	];
	for (const { questions, reasoning, answer } of demoChats) {
		const turn = [
			...[special.channel, ...text('analysis'), special.message, ...text(reasoning), special.end],
			...[special.start, ...text('assistant'), special.channel, ...text('final'), special.message],
			...[...text(answer), special.return],
		];
		for (const question of questions) {
			for (const history of histories) {
				const before = prompt([...history, { role: 'user', content: question }]);
				yield { tokens: [...before, ...turn], learnFrom: before.length };
			}
		}
		if (questions.length > 0) continue;
		for (let i = 0; i < RANDOM_QUESTIONS; i++) {
			const before = prompt([{ role: 'user', content: 'x' }]);
			const end = before.lastIndexOf(special.end);
			const question = Array.from({ length: 16 }, () => random(256 + tokenizer.count(answer)));
			before.splice(end, 0, ...question);
			yield { tokens: [...before, ...turn], learnFrom: before.length };
		}
	}
}

/** Makes a function that returns random integers from 0 to `limit` − 1. */
function randomBelow(seed: number): (limit: number) => number {
	const words = new Uint32Array(1 << 16);
	fillRandom(words, seed, 'demo windows');
	let at = 0;
	return (limit) => words[at++ % words.length]! % limit;
}
