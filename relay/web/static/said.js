// What the relay says about failures, in the page's language. The relay speaks English, with a code for programs; its sentences are found again by
// their form, what was put into them (numbers, names, other sentences) goes into the Chinese one. What is not found stays as it came.

import { currentLanguage } from "./i18n.js";
import answers from "./zh_answers.js";
import causes from "./zh_causes.js";
import { codes, fields, inside, messages } from "./zh_names.js";

const TEXT_MAX = 2000;     // longer ones are no sentences
const DEEP_MAX = 4;        // a sentence in a sentence in a sentence

let known = null;          // {fixed: English → Chinese, forms: [{pieces, chinese}], words}; made when it is first needed

function prepare() {
  const all = [...answers, ...causes, ...messages];
  const letters = (text) => text.replaceAll("{}", "").length;
  const forms = all.filter(([english]) => english.includes("{}")).sort((one, other) => letters(other[0]) - letters(one[0]));   // the closest first
  return {
    fixed: new Map(all.filter(([english]) => !english.includes("{}"))),
    forms: forms.map(([english, chinese]) => ({ pieces: english.split("{}"), chinese, wordless: !/[A-Za-z]/.test(english) })),
    words: new Map([...inside, ...Object.entries(codes)]),
  };
}

/** What stands between these pieces, each as early as it comes; null where they are not the text's. No regular expression: it would try every other place. */
function between(pieces, text) {
  const [first, last] = [pieces[0], pieces.at(-1)], end = text.length - last.length, parts = [];
  if (!text.startsWith(first) || !text.endsWith(last)) return null;
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const next = text.indexOf(piece, at);
    if (next < 0) return null;
    parts.push(text.slice(at, next));
    at = next + piece.length;
  }
  return at > end ? null : [...parts, text.slice(at, end)];
}

function chinese(text, deep) {
  const whole = known.fixed.get(text);
  if (whole !== undefined || deep > DEEP_MAX) return whole;
  const several = text.split(/(?<=[.?]) (?=[A-Z])/);
  if (several.length > 1) {
    const each = several.map((one) => chinese(one, deep + 1));
    if (each.every(Boolean)) return each.join("");
  }
  for (const { pieces, chinese: form, wordless } of known.forms) {
    if (wordless && text.endsWith(").")) break;        // a cause that was made a sentence, with another in brackets: not what stands before a colon in them
    const found = between(pieces, text);
    if (found) return form.replace(/\{(w?)(\d)\}/g, (_, word, place) => { const part = found[Number(place)]; return (word ? known.words.get(part) : undefined) ?? chinese(part, deep + 1) ?? part; });
  }
  if (!text.endsWith(".")) return undefined;
  const clause = chinese(text.slice(0, -1), deep);     // a cause that was made a sentence
  return clause && `${clause}。`;
}

/** A sentence or a cause, as the relay tells it. */
export function said(text) {
  if (!text || currentLanguage() !== "zh" || text.length > TEXT_MAX) return text;
  known ??= prepare();
  return chinese(text, 0) ?? text;
}

/** The name of a field of an alarm (`front_speed`) as words. */
export const fieldWords = (name) => (currentLanguage() === "zh" && fields[name]) || name.replaceAll("_", " ");

/** A code of a failure (`no_answer`) as words. */
export const codeWords = (code) => (currentLanguage() === "zh" && codes[code]) || code.replaceAll("_", " ");
