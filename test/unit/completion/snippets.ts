// Files in many languages, as people write them. Tests take pieces out of them.

export const SNIPPETS: readonly [languageId: string, text: string][] = [
	[
		'typescript',
		`interface Item {
	name: string;
	tags?: string[];
}

/** Counts the items by tag; doesn't (yet) look at names. */
export function countByTag(items: readonly Item[], ignore: RegExp = /^[(_]/): Map<string, number> {
	const counts = new Map<string, number>();
	for (const { tags = [] } of items) {
		for (const tag of tags) {
			if (ignore.test(tag) || tag === '') {
				continue;
			}

			counts.set(tag, (counts.get(tag) ?? 0) + 1);
		}
	}
	return counts;
}

export class Report {
	readonly #lines: string[] = [];

	add(label: string, value: number): this {
		this.#lines.push(\`\${label}: \${value.toFixed(2)} (\${value > 0 ? 'more' : "less"})\`);
		return this;
	}

	async print(write: (text: string) => Promise<void>): Promise<void> {
		await Promise.all(
			this.#lines.map(async (line, index) => {
				await write(\`\${index + 1}. \${line}\\n\`);
			}),
		);
	}
}

describe('countByTag', () => {
	it('counts', () => {
		expect(countByTag([{ name: 'a', tags: ['x', 'y'] }, { name: 'b', tags: ['x'] }])).toEqual(
			new Map([
				['x', 2],
				['y', 1],
			]),
		);
	});
});
`,
	],
	[
		'typescriptreact',
		`export function List({ items, onSelect }: Props) {
  const [open, setOpen] = useState<string | null>(null);
  useEffect(() => {
    setOpen(null);
  }, [items]);
  if (items.length === 0) return <p>There's nothing here.</p>;
  return (
    <ul className="list">
      {items.map((item) => (
        <li key={item.id} onClick={() => onSelect(item)}>
          <div>
            <div>
              <span>{item.name}</span>
            </div>
          </div>
        </li>
      ))}
    </ul>
  );
}
`,
	],
	[
		'javascript',
		`const fs = require('node:fs');

module.exports = function load(file, callback) {
    fs.readFile(file, 'utf8', (error, text) => {
        if (error) {
            callback(error);
            return;
        }
        try {
            callback(null, JSON.parse(text.replace(/\\/\\/[^\\n]*/g, '')));
        } catch (reason) {
            callback(new Error(\`\${file}: \${reason.message}\`));
        }
    });
};

items.forEach((item) => {
    console.log(item);
});
`,
	],
	[
		'python',
		`import re
from dataclasses import dataclass, field


@dataclass
class Account:
    """Someone's account (with its history)."""

    owner: str
    history: list[float] = field(default_factory=list)

    def deposit(self, amount: float) -> None:
        if amount <= 0:
            raise ValueError(f"{self.owner}'s deposit isn't positive")

        self.history.append(amount)

    def balance(self) -> float:
        total = 0.0

        for amount in self.history:
            total += amount

        return round(total, 2)

    def find(self, pattern, *, limit=None):
        matcher = re.compile(
            pattern,

            re.IGNORECASE,
        )
        result = []
        for amount in self.history:
            if matcher.search(str(amount)):
                result.append(amount)
                if limit is not None and len(result) >= limit:
                    return result
        return result


def main():
    accounts = {
        "ann": Account("Ann"),
        "bob": Account("Bob", [1.0, 2.5]),
    }
    for name, account in sorted(accounts.items()):
        print(name, account.balance() // 1)


if __name__ == "__main__":
    main()
`,
	],
	[
		'rust',
		`use std::collections::HashMap;

/// Finds the longest of two; it's the caller's job to keep them.
pub fn longest<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.len() > second.len() { first } else { second }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser { text, at: 0 }
    }

    fn word(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start_matches(' ');
        if rest.is_empty() {
            return None;
        }

        let end = rest.find(|c: char| c == ' ' || c == '\\'' || c == '(').unwrap_or(rest.len());
        self.at = self.text.len() - rest.len() + end;
        Some(&rest[..end])
    }
}

fn count(text: &str) -> HashMap<String, usize> {
    let mut parser = Parser::new(text);
    let mut counts = HashMap::new();
    while let Some(word) = parser.word() {
        *counts.entry(word.to_string()).or_insert(0) += 1;
    }
    counts
}
`,
	],
	[
		'go',
		`package store

import (
	"errors"
	"sync"
)

var ErrMissing = errors.New("store: there's no such key")

type Store struct {
	mutex sync.Mutex
	items map[string][]byte
}

func (s *Store) Get(key string) ([]byte, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()

	value, ok := s.items[key]
	if !ok {
		return nil, ErrMissing
	}
	return append([]byte(nil), value...), nil
}

func (s *Store) Each(visit func(key string, value []byte) error) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for key, value := range s.items {
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}
`,
	],
	[
		'c',
		`#include <stdio.h>
#include <string.h>

#define MAX(a, b) ((a) > (b) ? (a) : (b))

static int is_quote(char c)
{
    return c == '"' || c == '\\'';
}

int count_words(const char *text, size_t length)
{
    int words = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == ' ' || is_quote(text[i]))
            continue;
#ifdef DEBUG
        printf("%c (%zu)\\n", text[i], i);
#endif
        words++;
        while (i < length && text[i] != ' ') {
            i++;
        }
    }

    return MAX(words, 0);
}
`,
	],
	[
		'cpp',
		`#include <vector>

namespace geometry {

template <class T>
class Polygon {
 public:
  explicit Polygon(std::vector<std::pair<T, T>> points) : points_(std::move(points)) {}

  T area() const {
    T sum = 0;
    for (size_t i = 0; i < points_.size(); i++) {
      const auto& [x, y] = points_[i];
      const auto& [u, v] = points_[(i + 1) % points_.size()];
      sum += x * v - u * y;
    }
    return (sum < 0 ? -sum : sum) / 2;
  }

  template <class Visit>
  void each(Visit visit) const {
    for (const auto& point : points_) visit(point);
  }

 private:
  std::vector<std::pair<T, T>> points_;
  static constexpr int kLimit = 1'000'000;
};

}  // namespace geometry
`,
	],
	[
		'java',
		`package shop;

import java.util.*;

public class Cart {
    private final Map<String, Integer> amounts = new HashMap<>();

    public void add(String name, int amount) {
        if (amount <= 0) {
            throw new IllegalArgumentException("amount isn't positive: " + amount);
        }
        amounts.merge(name, amount, Integer::sum);
    }

    public List<String> names() {
        List<String> names = new ArrayList<>(amounts.keySet());
        names.sort((a, b) -> {
            int order = amounts.get(b) - amounts.get(a);
            return order != 0 ? order : a.compareTo(b);
        });
        return names;
    }
}
`,
	],
	[
		'ruby',
		`module Shop
  class Cart
    attr_reader :items

    def initialize
      @items = {}
    end

    def add(name, amount: 1)
      raise ArgumentError, "#{name}'s amount" unless amount.positive?

      @items[name] ||= 0
      @items[name] += amount
    end

    def each
      @items.each do |name, amount|
        if amount > 1
          yield "#{name} (#{amount})"
        else
          yield name
        end
      end
    end
  end
end
`,
	],
	[
		'html',
		`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>It's a page</title>
</head>
<body>
<div class="page">
<div class="column">
<h1>Hello</h1>
<p>Don't (ever) close this<br>twice.</p>
<ul>
<li>one</li>
<li>two <b>bold</b></li>
</ul>
</div>
</div>
<footer>
  <div>
    <div>
      <a href="/">Home</a>
    </div>
  </div>
</footer>
</body>
</html>
`,
	],
	[
		'css',
		`:root {
  --accent: #0a84ff;
}

.list > li:not(:last-child) {
  margin: 0 0 calc(1rem * 2);
  background: url("a(b).png") no-repeat;
}

@media (max-width: 600px) {
  .list {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
  }
}
`,
	],
	[
		'shellscript',
		`#!/bin/sh
set -eu

usage() {
  echo "usage: $0 [-v] FILE..." >&2
  exit 2
}

verbose=
while [ $# -gt 0 ]; do
  case "$1" in
    -v) verbose=1 ;;
    -*) usage ;;
    *) break ;;
  esac
  shift
done

for file in "$@"; do
  if [ -f "$file" ]; then
    if [ -n "$verbose" ]; then
      echo "it's \${file#./}"
    fi
    wc -l < "$file"
  fi
done
`,
	],
	[
		'yaml',
		`name: build
on:
  push:
    branches: [main, "release/**"]
jobs:
  test:
    runs-on: \${{ matrix.os }}
    strategy:
      matrix:
        os: [ubuntu, windows]
    steps:
      - uses: checkout
      - name: Don't cache
        run: |
          npm ci
          npm test

      - name: Pack
        run: npm pack
`,
	],
	[
		'json',
		`{
  "name": "demo",
  "scripts": {
    "build": "node build.mjs",
    "test": "vitest run (all)"
  },
  "files": ["dist", "README.md"],
  "matrix": [
    [1, 0, 0],
    [0, 1, 0]
  ],
  "nested": {
    "deep": {
      "deeper": [
        {
          "a": 1
        },
        {
          "a": 2
        }
      ]
    }
  }
}
`,
	],
];
