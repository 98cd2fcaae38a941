/** The fastify of whoever installed this package: most use it without a server. */

const needed = 5;

/** Throws, with what to install, where there is none or one of another major version. */
export async function loadFastify() {
  let fastify: (typeof import('fastify'))['fastify'] | undefined;
  try {
    ({ fastify } = await import('fastify'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new Error(
      `the server needs fastify, which does not come with mask-predict: npm install fastify@${needed}`,
      { cause: error },
    );
  }
  // Another one may be there for another package's sake; it would fail at the first request.
  const version = typeof fastify === 'function' ? fastify().version : undefined;
  if (version?.split('.')[0] !== String(needed)) {
    throw new Error(
      `the server needs fastify ${needed}, but found ${version ?? 'one too old to tell its version'}: ` +
        `npm install fastify@${needed}`,
    );
  }
  return fastify!;
}
