/**
 * Chat templates of the DeepSeek families, written for these tests after the formats of model.md section 14:
 * not the texts that the models ship with, but the same turns, tool calls and generation prompts.
 */

const SYSTEM = `{%- set ns = namespace(system='', after_tool=false) -%}
{%- for m in messages if m.role == 'system' -%}
  {%- set ns.system = ns.system + ('\\n\\n' if ns.system else '') + m.content -%}
{%- endfor -%}
{{- bos_token + ns.system -}}
`;

function v3Turns(answer: string, prompt: string): string {
  return `${SYSTEM}
{%- for m in messages -%}
  {%- if m.role == 'user' -%}
    {{- '<｜User｜>' + m.content -}}
    {%- set ns.after_tool = false -%}
  {%- elif m.role == 'assistant' and m.tool_calls -%}
    {%- if not ns.after_tool %}{{ '<｜Assistant｜>' }}{% endif -%}
    {%- if m.content is not none %}{{ m.content }}{% endif -%}
    {{- '<｜tool▁calls▁begin｜>' -}}
    {%- for call in m.tool_calls -%}
      {{- '' if loop.first else '\\n' -}}
      {{- '<｜tool▁call▁begin｜>' + call['type'] + '<｜tool▁sep｜>' + call['function']['name'] + '\\n' -}}
      {{- '\`\`\`json' + '\\n' + call['function']['arguments'] + '\\n' + '\`\`\`' + '<｜tool▁call▁end｜>' -}}
    {%- endfor -%}
    {{- '<｜tool▁calls▁end｜>' + eos_token -}}
    {%- set ns.after_tool = false -%}
  {%- elif m.role == 'assistant' -%}
    {%- if not ns.after_tool %}{{ '<｜Assistant｜>' }}{% endif -%}
    {{- ${answer} + eos_token -}}
    {%- set ns.after_tool = false -%}
  {%- elif m.role == 'tool' -%}
    {%- if not ns.after_tool %}{{ '<｜tool▁outputs▁begin｜>' }}{% else %}{{ '\\n' }}{% endif -%}
    {{- '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' -}}
    {%- if loop.last or messages[loop.index].role != 'tool' %}{{ '<｜tool▁outputs▁end｜>' }}{% endif -%}
    {%- set ns.after_tool = true -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and not ns.after_tool %}{{ '${prompt}' }}{% endif -%}
`;
}

export const V3: string = v3Turns("m.content", "<｜Assistant｜>");
export const R1: string = v3Turns("m.content.split('</think>')[-1]", "<｜Assistant｜><think>\\n");

export const V31: string = `{%- if thinking is not defined %}{% set thinking = false %}{% endif -%}
${SYSTEM}
{%- for m in messages -%}
  {%- if m.role == 'user' -%}
    {{- '<｜User｜>' + m.content -}}
    {%- set ns.after_tool = false -%}
  {%- elif m.role == 'assistant' -%}
    {%- if not ns.after_tool %}{{ '<｜Assistant｜></think>' }}{% endif -%}
    {%- if m.content is not none -%}
      {%- set parts = m.content.split('</think>', 1) -%}
      {{- parts[-1] -}}
    {%- endif -%}
    {%- if m.tool_calls -%}
      {{- '<｜tool▁calls▁begin｜>' -}}
      {%- for call in m.tool_calls -%}
        {{- '<｜tool▁call▁begin｜>' + call['function']['name'] + '<｜tool▁sep｜>' -}}
        {{- call['function']['arguments'] + '<｜tool▁call▁end｜>' -}}
      {%- endfor -%}
      {{- '<｜tool▁calls▁end｜>' -}}
    {%- endif -%}
    {{- eos_token -}}
    {%- set ns.after_tool = false -%}
  {%- elif m.role == 'tool' -%}
    {{- '<｜tool▁output▁begin｜>' + m.content + '<｜tool▁output▁end｜>' -}}
    {%- set ns.after_tool = true -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and not ns.after_tool -%}
  {{- '<｜Assistant｜>' + ('<think>' if thinking else '</think>') -}}
{%- endif -%}
`;
