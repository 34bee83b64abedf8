// Numbers as Python computes and prints them.
import { TemplateError } from './budget';

/**
 * As Python's `repr` of a float: the shortest digits that give the same float back. From 1e16 on and below 1e-4 the
 * text has an exponent.
 */
export function floatText(value: number): string {
	if (Number.isNaN(value)) return 'nan';
	if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
	if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
	const [mantissa, exponent] = value.toExponential().split('e') as [string, string];
	const power = Number(exponent);
	if (power < -4 || power >= 16) return `${mantissa}e${withExponentSign(power)}`;
	const text = value.toFixed(Math.max(0, digitsAfterPoint(mantissa) - power));
	return text.includes('.') ? text : `${text}.0`;
}

function digitsAfterPoint(mantissa: string): number {
	const point = mantissa.indexOf('.');
	return point < 0 ? 0 : mantissa.length - point - 1;
}

export function withExponentSign(power: number): string {
	return `${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
}

/**
 * As `toFixed`, but a tie is rounded to the even digit, as Python does it.
 * @param digits 0 to 100.
 */
export function fixed(value: number, digits: number): string {
	if (Math.abs(value) >= 1e21) {
		const whole = BigInt(value).toString();
		return digits === 0 ? whole : `${whole}.${'0'.repeat(digits)}`;
	}
	const text = value.toFixed(digits);
	if (digits >= 60) return text;
	const exact = Math.abs(value).toFixed(Math.min(100, digits + 40));
	const rest = exact.slice(exact.length - (Math.min(100, digits + 40) - digits));
	if (!/^50*$/.test(rest)) return text;
	const down = exact.slice(0, exact.length - rest.length).replace(/\.$/, '');
	const even = Number(down.at(-1)) % 2 === 0;
	return even ? `${value < 0 ? '-' : ''}${down}` : text;
}

/** As Python's `round(value, digits)` for a float. */
export function roundFloat(value: number, digits: number): number {
	if (!Number.isFinite(value)) return value;
	if (digits > 60) return value;
	if (digits >= 0) return Number(fixed(value, digits));
	const unit = 10 ** -digits;
	if (!Number.isFinite(unit)) return 0;
	return Number(fixed(value / unit, 0)) * unit;
}

export function floorDivide(a: bigint, b: bigint): bigint {
	if (b === 0n) throw new TemplateError('integer division or modulo by zero');
	const quotient = a / b;
	return a % b !== 0n && a < 0n !== b < 0n ? quotient - 1n : quotient;
}

export function modulo(a: bigint, b: bigint): bigint {
	return a - b * floorDivide(a, b);
}

export function floatModulo(a: number, b: number): number {
	if (b === 0) throw new TemplateError('float modulo');
	const rest = a % b;
	if (rest === 0) return b < 0 ? -0 : 0;
	return rest < 0 !== b < 0 ? rest + b : rest;
}

/** As Python's `int(text, base)`; undefined where the text is no such integer. */
export function parseInteger(text: string, base: number): bigint | undefined {
	const match = /^([+-]?)(0[bB]|0[oO]|0[xX])?_?([\da-zA-Z]+(?:_[\da-zA-Z]+)*)$/.exec(text);
	if (!match) return undefined;
	const prefixed =
		match[2] === undefined ? undefined : { b: 2, o: 8, x: 16 }[match[2][1]!.toLowerCase() as 'b' | 'o' | 'x'];
	let digits = match[3]!.replaceAll('_', '').toLowerCase();
	let radix = base;
	if (prefixed !== undefined) {
		if (base === 0 || base === prefixed) radix = prefixed;
		else digits = match[2]! + digits;
	} else if (base === 0) {
		if (/^0+[1-9]/.test(digits)) return undefined;
		radix = 10;
	}
	if (digits.length > 4300 || radix < 2 || radix > 36) return undefined;
	if (radix === 10 && /^\d+$/.test(digits)) return (match[1] === '-' ? -1n : 1n) * BigInt(digits);
	let value = 0n;
	for (const digit of digits.toLowerCase()) {
		const worth = Number.parseInt(digit, 36);
		if (!(worth < radix)) return undefined;
		value = value * BigInt(radix) + BigInt(worth);
	}
	return match[1] === '-' ? -value : value;
}

/** As Python's `float(text)`; undefined where the text is no float. */
export function parseFloatText(text: string): number | undefined {
	if (/^[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/i.test(text)) {
		return Number(text.replaceAll('_', ''));
	}
	const special = /^([+-]?)(?:(inf(?:inity)?)|nan)$/i.exec(text);
	if (!special) return undefined;
	return special[2] === undefined
		? Number.NaN
		: special[1] === '-'
			? Number.NEGATIVE_INFINITY
			: Number.POSITIVE_INFINITY;
}
