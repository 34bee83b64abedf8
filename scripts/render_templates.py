# Renders chat templates with Jinja2 in the settings of Hugging Face's transformers, for `scripts/jinja2.mjs`. It reads a
# JSON array of [template, variables] from standard input and prints an array of texts. A text is null where the template
# raises an error.
import json
import sys
from datetime import datetime

import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(jinja2.ext.Extension):
    """`generation` marks answers for training. Rendering writes what is inside the mark."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def environment():
    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda format: datetime(2026, 3, 9, 14, 5, 7).strftime(format)
    return made


def render(source, variables):
    try:
        return environment().from_string(source).render(**variables)
    except Exception:
        return None


json.dump([render(source, variables) for source, variables in json.load(sys.stdin)], sys.stdout)
