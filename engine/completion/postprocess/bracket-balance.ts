// Cuts before a closing bracket whose partner is closed already by the text after the cursor.
import { Fit } from '../fit';
import { syntaxOf } from '../syntax';
import { type Filter, isProse } from './filter';

export const bracketBalance: Filter = {
	name: 'bracket balance',
	reason: 'the suggestion only closed brackets that are closed already',
	apply(text, { languageId, window }) {
		// In prose a bracket may be anything, but the tags of markup open and close.
		if (isProse(languageId) && syntaxOf(languageId).tags === 'none') return text;
		// Of an excerpt it is unknown what was open where it begins. A bracket that would close that is no misfit, so it stays.
		const fit = new Fit(window, languageId);
		if (!fit.certain) return text;
		let kept = text;
		// What is left open may be closed by what the user writes next.
		let misfits = fit.misfits(text);
		// The longest one of those that fit best.
		for (const at of misfits === 0 ? [] : fit.closers(text).reverse()) {
			const cut = text.slice(0, at).trimEnd();
			const left = fit.misfits(cut);
			if (left >= misfits || fit.cost(cut) >= fit.cost(kept)) continue;
			kept = cut;
			misfits = left;
		}
		return kept;
	},
};
