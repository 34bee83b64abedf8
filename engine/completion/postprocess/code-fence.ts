// Takes Markdown code fences off: chat models like to wrap code.
import { type Filter, isProse } from './filter';

export const codeFence: Filter = {
	name: 'code fence',
	reason: 'the model wrote Markdown instead of code',
	apply(text, { languageId, window }) {
		// Where the file itself has fences, as in comments and templates, they may be meant.
		if (isProse(languageId) || window.prefix.includes('```')) return text;
		const inside = text.replace(/^\s*```[\w+#.-]*\n/, '');
		const close = inside.search(/^[ \t]*```/m);
		return close === -1 ? inside : inside.slice(0, close).replace(/\n$/, '');
	},
};
