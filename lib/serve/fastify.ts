/** The fastify of whoever installed this package: most use it without a server. */

/** The first version with all that is used here, as in the peerDependencies of package.json; not the next major one. */
const major = 5;
const minor = 5;

/** Throws, with what to install, where there is none or another version. */
export async function loadFastify() {
  let fastify: (typeof import('fastify'))['fastify'] | undefined;
  try {
    ({ fastify } = await import('fastify'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error(
      `the server needs fastify, which does not come with mask-predict: npm install fastify@${major}`,
      { cause: error },
    );
  }
  // Another one may be there for another package's sake; it would fail at the first request.
  const version = typeof fastify === 'function' ? fastify().version : undefined;
  const [first, second] = (version ?? '').split('.').map(Number);
  if (first !== major || second! < minor) {
    throw new Error(
      `the server needs fastify ${major}.${minor} or a later ${major}, but found ` +
        `${version ?? 'one too old to tell its version'}: npm install fastify@${major}`,
    );
  }
  return fastify!;
}
