// npm run bench -- [NAME] [options]
//
// Runs bench/NAME.mjs with the options, without a name the cells.
const [first] = process.argv.slice(2);
const named = first !== undefined && !first.startsWith('-');
if (named) process.argv.splice(2, 1);
await import(new URL(`${named ? first : 'cells'}.mjs`, import.meta.url).href);
