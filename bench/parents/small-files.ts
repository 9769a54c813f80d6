/** What a parent has beside shards, index and config, as far as plan and inspect look at it. */

const TURNS =
  "{% if message['role'] == 'user' %}{{ '<｜User｜>' + message['content'] }}" +
  "{% elif message['role'] == 'assistant' %}{{ '<｜Assistant｜>' + message['content'].split('</think>')[-1] + '<｜end▁of▁sentence｜>' }}" +
  "{% else %}{{ message['content'] }}{% endif %}";

/** Name and text of each. A parent that thinks has R1's generation prompt and its generation_config.json. */
export function smallFiles({ thinks }: { thinks: boolean }): [string, string][] {
  const prompt = thinks ? "<｜Assistant｜><think>\\n" : "<｜Assistant｜>";
  const tokenizer = {
    add_bos_token: false,
    bos_token: "<｜begin▁of▁sentence｜>",
    eos_token: "<｜end▁of▁sentence｜>",
    model_max_length: 131072,
    pad_token: "<｜end▁of▁sentence｜>",
    tokenizer_class: "LlamaTokenizerFast",
    chat_template: `{{ bos_token }}{% for message in messages %}${TURNS}{% endfor %}{% if add_generation_prompt %}{{ '${prompt}' }}{% endif %}`,
  };
  const generation = {
    _from_model_config: true,
    bos_token_id: 0,
    eos_token_id: 1,
    do_sample: true,
    temperature: 0.6,
    top_p: 0.95,
  };
  const text = (value: object) => `${JSON.stringify(value, null, 2)}\n`;
  const files: [string, string][] = [["tokenizer_config.json", text(tokenizer)]];
  if (thinks) files.push(["generation_config.json", text(generation)]);
  return files;
}
