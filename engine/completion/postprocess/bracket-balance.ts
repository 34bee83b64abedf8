// Cuts the suggestion before a closing bracket if the text after the cursor already closes the opening one.
import { Fit } from '../fit';
import { syntaxOf } from '../syntax';
import { type Filter, isProse } from './filter';

export const bracketBalance: Filter = {
	name: 'bracket balance',
	reason: 'the suggestion only closed brackets that are closed already',
	apply(text, { languageId, window }) {
		// In prose a bracket may be anything, but the tags of markup open and close.
		if (isProse(languageId) && syntaxOf(languageId).tags === 'none') return text;
		// If the window does not hold the file's beginning, it is unknown what is open there. A bracket that may close it is
		// no misfit, so it stays.
		const fit = new Fit(window, languageId);
		if (!fit.certain) return text;
		let kept = text;
		// Only misfits count here. What the suggestion leaves open may be closed by what the user writes next.
		let misfits = fit.misfits(text);
		// The closers are tried from the end, so the longest of the cuts that fit best is kept.
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
