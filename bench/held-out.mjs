/** The instructions about numbers that the embedded model was never trained on, with their right answers. */
import { numberWords } from './number-words.mjs';

const languages = Object.keys(numberWords);

/** The rule of models/numbers/README.md for numbers that were left out of the training. */
export function isHeldOut(number) {
  return number >= 100 && (Math.imul(number, 2654435761) >>> 0) % 20 === 0;
}

/** Every instruction about a number, as `{ task, prompt, answer }`. */
export function instructionsAbout(number) {
  const list = [
    {
      task: 'even',
      prompt: `Is the number ${number} even? Yes or no?`,
      answer: number % 2 === 0 ? 'Yes' : 'No',
    },
  ];
  for (const language of languages) {
    const words = numberWords[language](number);
    list.push({
      task: `${language} words`,
      prompt: `Write the number ${number} in ${language} words.`,
      answer: words,
    });
    list.push({
      task: `${language} to digits`,
      prompt: `Write this ${language} number in digits: ${words}`,
      answer: String(number),
    });
    for (const other of languages.filter((name) => name !== language)) {
      list.push({
        task: `${language} to ${other}`,
        prompt: `Translate the following text from ${language} to ${other}: ${words}`,
        answer: numberWords[other](number),
      });
    }
  }
  return list;
}

/** All of them, or `count` that lie evenly among them, as `{ task, prompt, answer }`. */
export function heldOutInstructions(count = Infinity) {
  const numbers = Array.from({ length: 10000 }, (_, number) => number).filter(isHeldOut);
  const all = numbers.flatMap(instructionsAbout);
  if (count >= all.length) return all;
  return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)]);
}
