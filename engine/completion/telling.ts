// Lines that say something, unlike those that only close what others opened and so stand in a file again and again.

/** Brackets, closing tags and the words that end blocks, alone on their line. */
const ONLY_CLOSES =
	/^(?:[\s)\]}>;,]|<\/[\w:.-]*>?|\/>|\b(?:end(?:if|for|while|do|def|module|case|function|class|try|loop|sub|with|fi)?|end\s+(?:if|sub|function|select|while|try|class|module|loop|case|do|for)|fi|done|esac|od|next|loop|wend|begin|else|then|do|endfunction|endmodule|endcase|endfor|endforeach|endswitch)\b)+$/i;

export function isTelling(line: string): boolean {
	return /[\p{L}\p{N}]/u.test(line) && !ONLY_CLOSES.test(line.trim());
}
