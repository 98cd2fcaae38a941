/**
 * Transpiles TypeScript for tap's runner (tsconfig.json names it to ts-node), once for each content: every test file is a
 * process that imports most of lib/, and transpiling that anew takes longer than most tests do. What was transpiled is kept
 * in .tap/transpiled, which may be deleted at any time.
 */
const { createHash, randomUUID } = require('node:crypto');
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

const folder = join(__dirname, '..', '.tap', 'transpiled');

/** As ts-node asks for: `nodeModuleEmitKind` is `'nodeesm'` for the files of this package. */
exports.create = ({ service, nodeModuleEmitKind }) => {
  const ts = require('typescript');
  const isModule = nodeModuleEmitKind === 'nodeesm';
  const compilerOptions = {
    ...service.config.options,
    ...(isModule && { module: ts.ModuleKind.ESNext }),
  };
  const settings = JSON.stringify([ts.version, compilerOptions]);

  return {
    transpile(text, { fileName }) {
      const key = [settings, fileName, text].join('\0');
      const path = join(folder, `${createHash('sha256').update(key).digest('hex')}.json`);
      try {
        return JSON.parse(readFileSync(path, 'utf8'));
      } catch {
        const given = { fileName, compilerOptions, reportDiagnostics: true };
        const { outputText, sourceMapText, diagnostics } = ts.transpileModule(text, given);
        if (diagnostics.length > 0) return { outputText, sourceMapText, diagnostics };
        write(path, JSON.stringify({ outputText, sourceMapText }));
        return { outputText, sourceMapText };
      }
    },
  };
};

/** Beside and renamed, so that another process reads all of it or nothing. */
function write(path, content) {
  mkdirSync(folder, { recursive: true });
  const part = `${path}.${randomUUID()}`;
  writeFileSync(part, content);
  renameSync(part, path);
}
