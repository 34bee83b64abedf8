// Node.js loads this file into the engine's process before the engine. It measures for how long the event loop does not
// turn. It does not count the time in which the main thread was ready to run and another process had the processor, so
// a busy machine changes nothing.
const { readFileSync, writeFileSync } = require('node:fs');

const file = process.env.HEARTH_MONITOR;
const stretches = [];

/** Milliseconds that this thread has computed, and milliseconds that it has waited for a processor. */
function used() {
	const [computed, waited] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'latin1').split(' ');
	return { computed: Number(computed) / 1e6, waited: Number(waited) / 1e6, at: performance.now() };
}

const TURN = 10;
const LEAST = 100;
let last = used();
setInterval(() => {
	const now = used();
	const computed = now.computed - last.computed;
	const blocked = now.at - last.at - (now.waited - last.waited) - TURN;
	last = now;
	if (blocked < LEAST) return;
	stretches.push({ blocked: Math.round(blocked), computed: Math.round(computed) });
	writeFileSync(`${file}.new`, JSON.stringify(stretches));
	require('node:fs').renameSync(`${file}.new`, file);
	last = used();
}, TURN).unref();
