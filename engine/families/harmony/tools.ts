// Writes tools as gpt-oss was trained to read them: as TypeScript declarations in a namespace, like its published chat
// template.
import { quote } from '../../quote';

export interface JsonSchema {
	type?: string | string[];
	description?: string;
	enum?: unknown[];
	default?: unknown;
	items?: JsonSchema;
	properties?: Record<string, JsonSchema>;
	required?: string[];
	anyOf?: JsonSchema[];
	oneOf?: JsonSchema[];
	nullable?: boolean;
}

export interface FunctionTool {
	/** Letters, digits, `_` and `-`. */
	name: string;
	description: string;
	/** A JSON schema of type object. Without it the tool has no arguments. */
	parameters?: JsonSchema;
}

/**
 * The section of the developer message about tools.
 * @throws an error on a name that cannot be in a message header.
 */
export function renderTools(tools: readonly FunctionTool[]): string {
	return `# Tools\n\n## functions\n\nnamespace functions {\n\n${tools.map(renderTool).join('')}} // namespace functions`;
}

function renderTool(tool: FunctionTool): string {
	if (!/^[\w-]+$/.test(tool.name)) throw new Error(`${quote(tool.name)} is no tool name: use letters, digits, _ and -`);
	const properties = Object.entries(tool.parameters?.properties ?? {});
	const type = properties.length > 0 ? `(_: ${renderObject(tool.parameters!)}) => any` : '() => any';
	return `${comment(tool.description)}type ${tool.name} = ${type};\n\n`;
}

function renderObject(schema: JsonSchema): string {
	const fields = Object.entries(schema.properties ?? {}).map(([name, field]) => {
		const optional = schema.required?.includes(name) ? '' : '?';
		const fallback = field.default === undefined ? '' : ` // default: ${renderDefault(field)}`;
		return `${comment(field.description)}${name}${optional}: ${renderType(field)},${fallback}\n`;
	});
	return `{\n${fields.join('')}}`;
}

function renderDefault(field: JsonSchema): string {
	return field.enum && typeof field.default === 'string' ? field.default : JSON.stringify(field.default);
}

function renderType(schema: JsonSchema): string {
	const alternatives = schema.anyOf ?? schema.oneOf;
	if (alternatives) return union(alternatives.map(renderType));
	if (schema.enum) return union(schema.enum.map((value) => JSON.stringify(value)));
	const types = schema.type === undefined ? [] : [schema.type].flat();
	if (schema.nullable) types.push('null');
	return types.length > 0 ? union(types.map((type) => renderNamedType(type, schema))) : 'any';
}

function renderNamedType(type: string, schema: JsonSchema): string {
	switch (type) {
		case 'integer':
			return 'number';
		case 'array': {
			const item = schema.items ? renderType(schema.items) : 'any';
			return item.includes(' | ') ? `(${item})[]` : `${item}[]`;
		}
		case 'object':
			return schema.properties ? renderObject(schema) : 'object';
		default:
			return type;
	}
}

const union = (types: string[]) => [...new Set(types)].join(' | ');

function comment(text: string | undefined): string {
	if (!text) return '';
	return `${text
		.split('\n')
		.map((line) => `// ${line}`)
		.join('\n')}\n`;
}
