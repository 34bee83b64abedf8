// `strftime` as C has it in its plain locale, with the flags and widths of the GNU library, which Python passes on.
import { TemplateError } from './budget';

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = [
	...['January', 'February', 'March', 'April', 'May', 'June', 'July'],
	...['August', 'September', 'October', 'November', 'December'],
];
const DAY = 86_400_000;
/** The longest result, which a width may ask for. */
const MAX_WIDTH = 100;

/** A time of the user's clock. Its time zone has no name, as with Python's `datetime.now()`. */
export interface LocalTime {
	year: number;
	/** 1 to 12. */
	month: number;
	day: number;
	hour: number;
	minute: number;
	second: number;
}

/** The beginning of a day given as YYYY-MM-DD. */
export function startOfDay(date: string): LocalTime {
	const [year, month, day] = date.split('-').map(Number) as [number, number, number];
	return { year, month, day, hour: 0, minute: 0, second: 0 };
}

/** A number with the width and the filling it has by default. */
type Field = { number: number; width: number; fill: '0' | ' ' } | string;

export function strftime(format: string, time: LocalTime): string {
	return format.replaceAll(
		/%([-_0^#]*)(\d*)[EO]?([a-zA-Z%+])/g,
		(whole, flags: string, width: string, directive: string) => {
			const field = fieldOf(directive, time);
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

function fieldOf(directive: string, time: LocalTime): Field | undefined {
	const { year, month, day, hour, minute, second } = time;
	const date = new Date(Date.UTC(2000, month - 1, day));
	date.setUTCFullYear(year);
	const weekday = date.getUTCDay();
	const first = new Date(date);
	first.setUTCMonth(0, 1);
	const dayOfYear = Math.round((date.getTime() - first.getTime()) / DAY);
	const iso = isoWeek(date);
	const two = (number: number, fill: '0' | ' ' = '0'): Field => ({ number, width: 2, fill });
	const all = (format: string) => strftime(format, time);
	switch (directive) {
		case 'a':
			return DAYS[weekday]!.slice(0, 3);
		case 'A':
			return DAYS[weekday]!;
		case 'b':
		case 'h':
			return MONTHS[month - 1]!.slice(0, 3);
		case 'B':
			return MONTHS[month - 1]!;
		case 'c':
			return all('%a %b %e %H:%M:%S %Y');
		case 'C':
			return two(Math.floor(year / 100));
		case 'd':
			return two(day);
		case 'D':
		case 'x':
			return all('%m/%d/%y');
		case 'e':
			return two(day, ' ');
		case 'f':
			return '000000';
		case 'F':
			return all('%Y-%m-%d');
		case 'g':
			return two(iso.year % 100);
		case 'G':
			return { number: iso.year, width: 1, fill: '0' };
		case 'H':
			return two(hour);
		case 'I':
			return two(hour % 12 || 12);
		case 'j':
			return { number: dayOfYear + 1, width: 3, fill: '0' };
		case 'k':
			return two(hour, ' ');
		case 'l':
			return two(hour % 12 || 12, ' ');
		case 'm':
			return two(month);
		case 'M':
			return two(minute);
		case 'n':
			return '\n';
		case 'p':
			return hour < 12 ? 'AM' : 'PM';
		case 'P':
			return hour < 12 ? 'am' : 'pm';
		case 'r':
			return all('%I:%M:%S %p');
		case 'R':
			return all('%H:%M');
		case 's':
			return String(Math.floor(new Date(year, month - 1, day, hour, minute, second).getTime() / 1000));
		case 'S':
			return two(second);
		case 't':
			return '\t';
		case 'T':
		case 'X':
			return all('%H:%M:%S');
		case 'u':
			return { number: weekday || 7, width: 1, fill: '0' };
		case 'U':
			return two(Math.floor((dayOfYear + 7 - weekday) / 7));
		case 'V':
			return two(iso.week);
		case 'w':
			return { number: weekday, width: 1, fill: '0' };
		case 'W':
			return two(Math.floor((dayOfYear + 7 - ((weekday + 6) % 7)) / 7));
		case 'y':
			return two(year % 100);
		case 'Y':
			return { number: year, width: 1, fill: '0' };
		case 'z':
		case 'Z':
			return '';
		case '%':
			return '%';
		default:
			return undefined;
	}
}

/** The week of ISO 8601 and the year it belongs to: that of its Thursday. */
function isoWeek(date: Date): { year: number; week: number } {
	const thursday = new Date(date.getTime() + (4 - (date.getUTCDay() || 7)) * DAY);
	const year = thursday.getUTCFullYear();
	const start = new Date(thursday);
	start.setUTCMonth(0, 1);
	return { year, week: Math.floor((thursday.getTime() - start.getTime()) / DAY / 7) + 1 };
}
