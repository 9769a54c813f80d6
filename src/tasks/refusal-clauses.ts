/**
 * The clauses that refusals are made of, in English and Chinese, as pieces of regular expressions.
 *
 * refusal-rules.ts puts them together. Everything is matched from the beginning of an answer and without regard
 * to case; repetitions are bounded, so that no answer takes long.
 */

export function anyOf(...words: string[]): string {
  return `(?:${words.join("|")})`;
}

const SPEAKER = anyOf(
  "as an? (?:(?:responsible|helpful|large|advanced) )?(?:ai|artificial intelligence|language model|llm|assistant)[^.,]{0,60}",
  "i(?: am|'m) (?:an? )?(?:ai|artificial|language|large|virtual)[^.,]{0,60}",
  "(?:i am|i'm|my name is) [\\p{L}\\d-]{2,20}(?=,)", // whatever it is called: the refusal behind it decides
);

/** What may stand before the refusal itself: an apology, a greeting, who is speaking. At most three of them. */
export const OPENING: string = `(?:${anyOf(
  "(?:i am|i'm)(?: (?:so|very|really|deeply|truly|terribly))? (?:sorry|afraid)",
  "(?:oh,? )?sorry",
  "(?:my )?apologies",
  "i apologi[sz]e(?: for (?:the|any) (?:inconvenience|confusion))?",
  "i regret(?: to say)?",
  "unfortunately",
  "i understand your (?:interest|curiosity|concern|question)[^.!?]{0,60}",
  "thank you for (?:your|the) (?:question|interest|message)[^.!?]{0,40}",
  "hello|hi",
  SPEAKER,
)}(?: but| that|[,.;:!—–-]| -){0,4}\\s{0,3}(?:(?:but|that|however|and|so),? )?){0,3}`;

/** "I cannot", "I'd rather not": up to the verb. */
export const WONT: string = `i(?: (?:simply|really|just|still|also|currently|unfortunately|respectfully))?${anyOf(
  " cannot(?: and will not)?",
  " can ?not",
  " can't(?: and won't)?",
  " won't(?: be able to)?",
  " will not(?: be able to)?",
  "(?: am|'m) (?:unable|not able|not allowed|not permitted|not authorized|not going|not programmed) to",
  " (?:must |have to |need to )?decline to",
  " (?:would|'d) (?:rather|prefer) not(?: to)?",
  "'d (?:rather|prefer) not(?: to)?",
  " prefer not to",
  " (?:do not|don't) (?:wish|want) to",
  "(?: am|'m) not comfortable",
  " (?:do not|don't) feel comfortable",
)}(?: (?:really|currently|ethically|directly))?`;

/** "that", "this kind of question", "political topics": what is declined. */
export const OBJECT: string = anyOf(
  "(?:that|this|it|these|those|such)(?: (?:particular|specific|kind|type|sort)(?: of)?)?(?: (?:sensitive|political|harmful|illegal|inappropriate))?(?: (?:questions?|topics?|subject|matter|issues?|requests?|content|material|information|query|task|conversation|discussion|point|things?|advice|instructions?))?",
  "(?:your|the) (?:question|request|query|topic)",
  "(?:political(?:ly)?|sensitive|controversial)[a-z ]{0,30}(?:topics?|questions?|issues?|matters?|content|subjects?|figures?)",
  "(?:questions?|topics?|issues?|matters?) (?:like|such as|about|related to|concerning)[^.!?]{0,80}",
  "anything (?:like that|about|related to)[^.!?]{0,80}",
);

/** Behind the object the clause ends or says why: "talk about that night" goes on. */
export const END: string = `(?= ?${anyOf(
  "[.,;:!?—–]|-|\n|$",
  "because|since|as |due to",
  "at (?:this|the) (?:time|moment)",
  "for (?:you|ethical|legal|safety|now|the time being)",
  "here|right now|yet|in (?:any|good)",
)})`;

const SPEAKER_ZH = anyOf(
  "作为(?:一个|一名|一款)?(?:人工智能|ai|语言模型|大语言模型|智能)[^，。！,]{0,12}",
  "我是(?:一个|一名|一款)?[^，。！,]{1,20}",
);

export const OPENING_ZH: string = `(?:${anyOf(
  "您好|你好",
  "(?:很|非常|十分)?抱歉|对不起|很遗憾|不好意思",
  "感谢您?的?(?:提问|理解|关注)",
  SPEAKER_ZH,
)}[，。！,!：:\\s]{0,3})`;

export const LATER_ZH: string = "(?:暂时|目前|现在|还|确实|实在|可能|恐怕)?";

/** The first person, or an opening that makes clear who speaks: 无法回答 alone may be a quotation. */
export const WHO_ZH: string = `(?:${OPENING_ZH}{1,4}(?:我们?|本助手|本模型)?|我们?|本助手|本模型)${LATER_ZH}`;

export const CANNOT_ZH: string = "(?:无法|不能|不便|不可以|没法|没有办法|不方便|不会|拒绝|不适合)";

/** 这个问题, 您的请求, 此类敏感话题. */
export const THIS_ZH: string = `(?:(?:您|你)?(?:的|提出的|提到的)?(?:这个|这一|这类|这样的|此类|该|此|那个|相关|有关|上述|类似)?(?:敏感|政治|具体|话题){0,2}(?:问题|话题|请求|要求|内容|主题|信息|提问|事情|事件|事))`;

export const END_ZH: string = "(?=[，。！？；,.!?;\\s、]|$|因为|由于|，?请)";
