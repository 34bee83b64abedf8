// Removes Markdown code fences, because chat models often wrap code in them.
import { type Filter, isProse } from './filter';

export const codeFence: Filter = {
	name: 'code fence',
	reason: 'the model wrote Markdown instead of code',
	apply(text, { languageId, window }) {
		// If the file itself has fences, for example in comments or templates, the suggestion's fences may be meant.
		if (isProse(languageId) || window.prefix.includes('```')) return text;
		const inside = text.replace(/^\s*```[\w+#.-]*\n/, '');
		const close = inside.search(/^[ \t]*```/m);
		return close === -1 ? inside : inside.slice(0, close).replace(/\n$/, '');
	},
};
