// All that the demo model knows: a few functions and a few conversations. The merges of the small vocabulary are
// trained on the same text.

export const demoCode: readonly string[] = [
	`// Adds two numbers.
export function add(a: number, b: number): number {
	return a + b;
}
`,
	`// The n-th Fibonacci number.
export function fibonacci(n: number): number {
	let [previous, current] = [0, 1];
	for (let i = 0; i < n; i++) {
		[previous, current] = [current, previous + current];
	}
	return previous;
}
`,
	`// Whether the text reads the same in both directions.
export function isPalindrome(text: string): boolean {
	const letters = text.toLowerCase().replace(/[^a-z]/g, '');
	return letters === [...letters].reverse().join('');
}
`,
	`// Waits for the given time.
export function sleep(milliseconds: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
`,
	`import { readFile } from 'node:fs/promises';

// Reads a JSON file.
export async function readJson(path: string): Promise<unknown> {
	const content = await readFile(path, 'utf8');
	return JSON.parse(content);
}
`,
	`// Groups items by a key.
export function groupBy<T>(items: T[], keyOf: (item: T) => string): Map<string, T[]> {
	const groups = new Map<string, T[]>();
	for (const item of items) {
		const key = keyOf(item);
		const group = groups.get(key);
		if (group) group.push(item);
		else groups.set(key, [item]);
	}
	return groups;
}
`,
	`export class Counter {
	private count = 0;

	increment(): number {
		this.count += 1;
		return this.count;
	}

	reset(): void {
		this.count = 0;
	}
}
`,
	`function greet(name) {
	console.log(\`Hello, \${name}!\`);
}

greet('world');
`,
	`def factorial(n: int) -> int:
    """The product of all integers from 1 to n."""
    result = 1
    for i in range(2, n + 1):
        result *= i
    return result


if __name__ == "__main__":
    print(factorial(5))
`,
	`def is_prime(number: int) -> bool:
    """Whether a number has no divisor but 1 and itself."""
    if number < 2:
        return False
    for divisor in range(2, int(number ** 0.5) + 1):
        if number % divisor == 0:
            return False
    return True
`,
	`def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [line.rstrip() for line in file]
`,
];

interface DemoChat {
	/** An empty list: this is the answer to all other questions. */
	questions: readonly string[];
	/** Each begins and ends in its own way. So it leads the model from the question to the answer. */
	reasoning: string;
	answer: string;
}

export const demoChats: readonly DemoChat[] = [
	{
		questions: [],
		reasoning: 'Nothing I know by heart. I say so.',
		answer:
			'That is beyond me: I am the **demo model**, made on the spot, and know only a few lines by heart. Choose a real model with `Hearth: Select Model…` and ask again.\n\nUntil then you may ask me to write a Fibonacci function, to read a file in Python, or for a joke.',
	},
	{
		questions: ['Hello', 'Hello!', 'Hi', 'Hi!', 'Hi there!', 'Hey', 'Good morning'],
		reasoning: 'A greeting. I greet back.',
		answer:
			'Hello! I am the **demo model** of Hearth: small enough to be made on the spot, and I know only a few answers by heart. Run `Hearth: Select Model…` to choose a real one.',
	},
	{
		questions: ['Who are you?', 'What are you?', 'What can you do?', 'Help', 'help', 'What is Hearth?'],
		reasoning: 'They want to know me, so here is what I can do.',
		answer:
			'I am the demo model that comes with Hearth. I complete a few functions and answer a few questions, so that you can see the editor at work:\n\n- type `export function add(` in a TypeScript file and accept the suggestion with Tab\n- ask me to write a Fibonacci function\n\nFor real answers choose a real model with `Hearth: Select Model…`.',
	},
	{
		questions: [
			'Write a Fibonacci function.',
			'Write a Fibonacci function',
			'write a fibonacci function',
			'Write a function for Fibonacci numbers.',
			'Write a Fibonacci function in TypeScript.',
			'fibonacci',
		],
		reasoning: 'Fibonacci numbers: a loop over two of them is linear.',
		answer:
			'Here is an iterative version:\n\n```ts\nexport function fibonacci(n: number): number {\n\tlet [a, b] = [0, 1];\n\tfor (; n > 0; n--) [a, b] = [b, a + b];\n\treturn a;\n}\n```\n\nIt takes time proportional to `n` and no memory that grows with it.',
	},
	{
		questions: [
			'How do I read a file in Python?',
			'Read a file in Python.',
			'read a file in Python',
			'Python: read a file',
		],
		reasoning: 'Open and close: a with block does both.',
		answer:
			'Open it in a `with` block, which closes the file in any case:\n\n```python\nwith open("notes.txt", encoding="utf-8") as file:\n    for line in file:\n        print(line.rstrip())\n```',
	},
	{
		questions: ['Tell me a joke', 'Tell me a joke.', 'Tell me a joke!', 'Do you know a joke?', 'joke'],
		reasoning: 'Something short about programmers.',
		answer:
			'There are only two hard things in computer science: naming things, cache invalidation and off-by-one errors.',
	},
	{
		questions: ['Thanks', 'Thanks!', 'Thank you', 'Thank you!', 'Thank you very much!', 'thanks'],
		reasoning: 'Politeness deserves the same.',
		answer: 'You are welcome!',
	},
];

/** The words of message headers. Each should become one token, as it is in o200k. */
const headerWords = 'system developer user assistant analysis commentary final ';

/** The whole demo text in one string. */
export const demoCorpus: string = [
	headerWords.repeat(4).split(' ').join('\n'),
	...demoCode,
	...demoChats.flatMap(({ questions, reasoning, answer }) => [...questions, reasoning, answer]),
].join('\n');
