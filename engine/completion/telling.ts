// Tells lines that say something from lines that only close what earlier lines opened. A file has the latter again and
// again, so they show no repetition.

/** A line that has only brackets, a closing tag or a word that ends a block. */
const ONLY_CLOSES =
	/^(?:[\s)\]}>;,]|<\/[\w:.-]*>?|\/>|\b(?:end(?:if|for|while|do|def|module|case|function|class|try|loop|sub|with|fi)?|end\s+(?:if|sub|function|select|while|try|class|module|loop|case|do|for)|fi|done|esac|od|next|loop|wend|begin|else|then|do|endfunction|endmodule|endcase|endfor|endforeach|endswitch)\b)+$/i;

export function isTelling(line: string): boolean {
	return /[\p{L}\p{N}]/u.test(line) && !ONLY_CLOSES.test(line.trim());
}
