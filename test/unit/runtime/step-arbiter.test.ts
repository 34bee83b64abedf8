import { describe, expect, it } from 'vitest';
import { Engine } from '../../../engine/runtime/engine';
import { onBehalfOf, StepArbiter } from '../../../engine/runtime/step-arbiter';
import { FakeModel } from '../support/fake-native';

/** A step that ends when it is told to. */
function held() {
	let end = () => {};
	const ended = new Promise<void>((resolve) => {
		end = resolve;
	});
	return { end, ended };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

describe('StepArbiter', () => {
	it('runs one step at a time, the most urgent first', async () => {
		const arbiter = new StepArbiter();
		const [chat, completion] = [arbiter.join(), arbiter.join()];
		const events: string[] = [];
		chat.urgency = 1;
		const first = held();
		const running = chat.run(async () => {
			events.push('chat 1');
			await first.ended;
		});
		const next = chat.run(async () => void events.push('chat 2'));
		completion.urgency = 0;
		const urgent = completion.run(async () => void events.push('completion'));
		await settle();
		expect(events).toEqual(['chat 1']);
		first.end();
		await Promise.all([running, urgent]);
		await settle();
		expect(events).toEqual(['chat 1', 'completion']); // the completion may go on
		completion.urgency = undefined;
		await next;
		expect(events).toEqual(['chat 1', 'completion', 'chat 2']);
	});

	it('takes equals in turn, and goes on after a step that failed', async () => {
		const arbiter = new StepArbiter();
		const [a, b] = [arbiter.join(), arbiter.join()];
		a.urgency = 1;
		b.urgency = 1;
		const events: string[] = [];
		const steps = [a, b, a, b].map((place, i) =>
			place.run(async () => {
				events.push(`${i}`);
				if (i === 1) throw new Error('broken');
			}),
		);
		const results = await Promise.allSettled(steps);
		expect(events).toEqual(['0', '1', '2', '3']);
		expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'fulfilled']);
	});

	it('ends a running step early for what is as urgent and waits, or more urgent and about to ask, once', async () => {
		const arbiter = new StepArbiter();
		const [chat, other, completion, warmup] = [arbiter.join(), arbiter.join(), arbiter.join(), arbiter.join()];
		chat.urgency = 1;
		let ended = 0;
		const long = async () => {
			const step = held();
			const running = chat.run(
				() => step.ended,
				() => ended++,
			);
			await settle();
			return async () => {
				step.end();
				await running;
			};
		};
		let finish = await long();
		warmup.urgency = 3;
		const idle = warmup.run(async () => {});
		other.urgency = 1;
		await settle();
		expect(ended).toBe(0); // only a less urgent step waits
		const equal = other.run(async () => {});
		const second = other.run(async () => {});
		expect(ended).toBe(1);
		await finish();
		await equal;
		await second;
		other.urgency = undefined;
		finish = await long();
		completion.urgency = 0;
		expect(ended).toBe(2);
		await finish();
		// It is the completion's turn now. A step that begins while another one waits is ended as soon as it begins.
		const ahead = long();
		other.urgency = 1;
		const beside = other.run(async () => {});
		completion.urgency = undefined;
		finish = await ahead;
		expect(ended).toBe(3);
		for (const place of [chat, other, warmup]) place.urgency = undefined;
		await finish();
		await Promise.all([beside, idle]);
	});

	it('gives a place that drafts for another the same turn', async () => {
		const arbiter = new StepArbiter();
		const target = arbiter.join();
		target.urgency = 0;
		expect(await onBehalfOf(target).run(async () => 'drafted')).toBe('drafted');
	});

	it('lets go what waits at a place that leaves', async () => {
		const arbiter = new StepArbiter();
		const [chat, completion] = [arbiter.join(), arbiter.join()];
		completion.urgency = 0;
		const step = chat.run(async () => 'let go');
		chat.leave();
		expect(await step).toBe('let go');
	});
});

describe('two engines', () => {
	/** The engines' steps in order, by name. */
	function setUp() {
		const arbiter = new StepArbiter();
		const steps: string[] = [];
		let running = 0;
		const engine = (name: string) =>
			new Engine(
				new FakeModel({
					onStep: async () => {
						expect(++running).toBe(1);
						steps.push(name);
						await settle();
						running--;
					},
				}),
				{ turns: arbiter.join() },
			);
		return { steps, chat: engine('chat'), completion: engine('completion') };
	}

	it('a completion waits for no more than the step that runs', async () => {
		const { steps, chat, completion } = setUp();
		let before = 0;
		let answered = () => {};
		const some = new Promise<void>((resolve) => {
			answered = resolve;
		});
		const answer = chat.generate({
			...{ tokens: [1, 2, 3], priority: 'chat', maxTokens: 50, speculation: false },
			onToken: () => {
				answered();
				return undefined;
			},
		});
		await some;
		before = steps.length;
		await completion.generate({ tokens: [4, 5, 6], priority: 'completion', maxTokens: 10, speculation: false });
		const during = steps.slice(before, steps.lastIndexOf('completion') + 1);
		expect(during.filter((name) => name === 'chat').length).toBeLessThanOrEqual(1);
		expect(during.filter((name) => name === 'completion')).toHaveLength(10);
		expect((await answer).tokens).toHaveLength(50);
		await Promise.all([chat.close(), completion.close()]);
	});

	it('a completion in either goes ahead of chat in the other, and both give what they give alone', async () => {
		const { chat, completion } = setUp();
		const options = { tokens: [7, 8, 9], maxTokens: 20 };
		const [one, other] = await Promise.all([
			chat.generate({ ...options, priority: 'chat' }),
			completion.generate({ ...options, priority: 'completion' }),
		]);
		const alone = new Engine(new FakeModel());
		const { tokens } = await alone.generate({ ...options, priority: 'chat' });
		expect(one.tokens).toEqual(tokens);
		expect(other.tokens).toEqual(tokens);
		await Promise.all([chat.close(), completion.close(), alone.close()]);
	});

	it('one can be closed while the other is busy', async () => {
		const { chat, completion } = setUp();
		const answer = chat.generate({ tokens: [1, 2], priority: 'chat', maxTokens: 30 });
		const endless = completion.generate({ tokens: [1, 2], priority: 'completion', maxTokens: 3000 });
		await settle();
		const closed = completion.close();
		await expect(endless).rejects.toThrow('the model was unloaded');
		await closed;
		expect((await answer).tokens).toHaveLength(30);
		await chat.close();
	});
});
