// `strftime` as C's library has it in the locale "C", with the flags and widths of the GNU library. Python passes a
// format on to C's library.
import { TemplateError } from './budget';

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
	...['January', 'February', 'March', 'April', 'May', 'June', 'July'],
	...['August', 'September', 'October', 'November', 'December'],
];
const DAY = 86_400_000;
/** The most characters that a directive's width may ask for. */
const MAX_WIDTH = 100;

/** A time on the user's clock. The time zone has no name, as in Python's `datetime.now()`. */
export interface LocalTime {
	year: number;
	/** 1 is January, 12 is December. */
	month: number;
	day: number;
	hour: number;
	minute: number;
	second: number;
}

/** The beginning of a day that is given as YYYY-MM-DD. */
export function startOfDay(date: string): LocalTime {
	const [year, month, day] = date.split('-').map(Number) as [number, number, number];
	return { year, month, day, hour: 0, minute: 0, second: 0 };
}

/** The output of a directive: a text, or a number with its default width and fill. */
type Field = { number: number; width: number; fill: '0' | ' ' } | string;

/** A time, with what follows from its date. */
interface Moment extends LocalTime {
	/** 0 is Sunday. */
	weekday: number;
	/** 0 is the first of January. */
	dayOfYear: number;
	iso: { year: number; week: number };
}

const number = (width: number, value: number): Field => ({ number: value, width, fill: '0' });
const two = (value: number): Field => number(2, value);
const spaced = (value: number): Field => ({ number: value, width: 2, fill: ' ' });
const hourOfTwelve = ({ hour }: Moment) => hour % 12 || 12;

/** The output of each directive, by the directive's letter. */
const FIELDS: Readonly<Record<string, ((moment: Moment) => Field) | undefined>> = {
	a: ({ weekday }) => DAYS[weekday]!.slice(0, 3),
	A: ({ weekday }) => DAYS[weekday]!,
	b: ({ month }) => MONTHS[month - 1]!.slice(0, 3),
	B: ({ month }) => MONTHS[month - 1]!,
	c: (moment) => strftime('%a %b %e %H:%M:%S %Y', moment),
	C: ({ year }) => two(Math.floor(year / 100)),
	d: ({ day }) => two(day),
	D: (moment) => strftime('%m/%d/%y', moment),
	e: ({ day }) => spaced(day),
	f: () => '000000',
	F: (moment) => strftime('%Y-%m-%d', moment),
	g: ({ iso }) => two(iso.year % 100),
	G: ({ iso }) => number(1, iso.year),
	h: ({ month }) => MONTHS[month - 1]!.slice(0, 3),
	H: ({ hour }) => two(hour),
	I: (moment) => two(hourOfTwelve(moment)),
	j: ({ dayOfYear }) => number(3, dayOfYear + 1),
	k: ({ hour }) => spaced(hour),
	l: (moment) => spaced(hourOfTwelve(moment)),
	m: ({ month }) => two(month),
	M: ({ minute }) => two(minute),
	n: () => '\n',
	p: ({ hour }) => (hour < 12 ? 'AM' : 'PM'),
	P: ({ hour }) => (hour < 12 ? 'am' : 'pm'),
	r: (moment) => strftime('%I:%M:%S %p', moment),
	R: (moment) => strftime('%H:%M', moment),
	s: ({ year, month, day, hour, minute, second }) =>
		String(Math.floor(new Date(year, month - 1, day, hour, minute, second).getTime() / 1000)),
	S: ({ second }) => two(second),
	t: () => '\t',
	T: (moment) => strftime('%H:%M:%S', moment),
	u: ({ weekday }) => number(1, weekday || 7),
	U: ({ dayOfYear, weekday }) => two(Math.floor((dayOfYear + 7 - weekday) / 7)),
	V: ({ iso }) => two(iso.week),
	w: ({ weekday }) => number(1, weekday),
	W: ({ dayOfYear, weekday }) => two(Math.floor((dayOfYear + 7 - ((weekday + 6) % 7)) / 7)),
	x: (moment) => strftime('%m/%d/%y', moment),
	X: (moment) => strftime('%H:%M:%S', moment),
	y: ({ year }) => two(year % 100),
	Y: ({ year }) => number(1, year),
	z: () => '',
	Z: () => '',
	'%': () => '%',
};

/** @throws TemplateError where a directive asks for more than 100 columns. */
export function strftime(format: string, time: LocalTime): string {
	const moment = momentOf(time);
	return format.replaceAll(
		/%([-_0^#]*)(\d*)[EO]?([a-zA-Z%+])/g,
		(whole, flags: string, width: string, directive: string) => {
			const field = FIELDS[directive]?.(moment);
			if (field === undefined) return whole;
			if (Number(width) > MAX_WIDTH) throw new TemplateError(`a date of ${width} characters`);
			let text: string;
			let fill = ' ';
			let columns = Number(width || 0);
			if (typeof field === 'string') {
				text = field;
				if (flags.includes('0')) fill = '0';
			} else {
				text = String(field.number);
				fill = /_(?!.*0)/.test(flags) ? ' ' : /0/.test(flags) ? '0' : field.fill;
				columns = width !== '' ? columns : flags.includes('-') ? 0 : field.width;
			}
			const opposite = directive === 'p' || directive === 'Z';
			if (flags.includes('^')) text = text.toUpperCase();
			else if (flags.includes('#')) text = opposite ? text.toLowerCase() : text.toUpperCase();
			return text.padStart(columns, fill);
		},
	);
}

function momentOf(time: LocalTime): Moment {
	const date = new Date(Date.UTC(2000, time.month - 1, time.day));
	date.setUTCFullYear(time.year);
	const first = new Date(date);
	first.setUTCMonth(0, 1);
	return {
		...time,
		weekday: date.getUTCDay(),
		dayOfYear: Math.round((date.getTime() - first.getTime()) / DAY),
		iso: isoWeek(date),
	};
}

/** The week by ISO 8601, and the year that the week belongs to. A week belongs to the year of its Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
	const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * DAY);
	const year = thursday.getUTCFullYear();
	const start = new Date(thursday);
	start.setUTCMonth(0, 1);
	return { year, week: Math.floor((thursday.getTime() - start.getTime()) / DAY / 7) + 1 };
}
