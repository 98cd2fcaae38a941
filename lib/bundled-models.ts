/** The models that come with the package. File tracers find them by the URLs here, which must be whole. */
import { fileURLToPath } from 'node:url';

/**
 * Their directories by name. The names are taken wherever a model is named (`MaskPredict.load('translate')`,
 * `--model translate`), unless there is a directory of that name.
 *
 * `numbers`: the numbers 0 to 9999 in words and digits, in English, German, French and Spanish; what is loaded where no
 * model is named. `translate`: short sentences from English to German, asked as
 * `Translate the following text from English to German: …`.
 */
export const bundledModels: Readonly<Record<'numbers' | 'translate', string>> = {
  numbers: fileURLToPath(new URL('../models/numbers', import.meta.url)),
  translate: fileURLToPath(new URL('../models/translate', import.meta.url)),
};

/** The directory of the model that is loaded where none is named. */
export const embeddedModel = bundledModels.numbers;
