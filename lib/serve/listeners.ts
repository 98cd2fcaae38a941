/**
 * The HTTP servers of one service: one for every address of its hosts, because a name such as `localhost` may stand
 * for several (127.0.0.1 and ::1). They begin and end together.
 */
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Codes for an address that this machine does not have, as ::1 where IPv6 is switched off. */
const absent = new Set(['EADDRNOTAVAIL', 'EAFNOSUPPORT']);

export class Listeners {
  readonly #servers: Server[] = [];

  private constructor() {}

  /**
   * Listens at every address of `hosts`, all at the same port (0: one that is free). An address of a name that this
   * machine does not have is left out, unless it is the only one.
   */
  static async open(
    create: () => Server,
    hosts: readonly string[],
    port: number,
  ): Promise<Listeners> {
    for (let tries = 10; ; tries--) {
      const listeners = new Listeners();
      try {
        for (const host of hosts) await listeners.#addHost(create, host, port);
        return listeners;
      } catch (error) {
        await listeners.close();
        // A port that was free at the first address may be taken at the next one.
        if (port !== 0 || tries === 0 || codeOf(error) !== 'EADDRINUSE') throw error;
      }
    }
  }

  /** Where it listens first: `http://127.0.0.1:8080`. */
  get url(): string {
    const { address, family, port } = this.#bound[0]!;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** True if only this machine can reach the server. */
  get loopback(): boolean {
    return this.#bound.every(({ address }) => isLoopback(address));
  }

  /** Takes no more connections; resolves when the last one has ended. */
  async close(): Promise<void> {
    await Promise.all(
      this.#servers.map((server) => new Promise<unknown>((resolve) => server.close(resolve))),
    );
  }

  /** Ends connections without a request. */
  closeIdleConnections(): void {
    for (const server of this.#servers) server.closeIdleConnections();
  }

  closeAllConnections(): void {
    for (const server of this.#servers) server.closeAllConnections();
  }

  get #bound(): AddressInfo[] {
    return this.#servers.map((server) => server.address() as AddressInfo);
  }

  async #addHost(create: () => Server, host: string, port: number): Promise<void> {
    const addresses = new Set((await lookup(host, { all: true })).map(({ address }) => address));
    const failures: unknown[] = [];
    for (const address of addresses) {
      if (this.#bound.some((bound) => bound.address === address)) continue;
      try {
        await this.#add(create(), address, port || (this.#bound[0]?.port ?? 0));
      } catch (error) {
        if (!absent.has(codeOf(error) ?? '')) throw error;
        failures.push(error);
      }
    }
    if (failures.length === addresses.size) throw failures[0];
  }

  async #add(server: Server, host: string, port: number): Promise<void> {
    server.listen({ host, port });
    await once(server, 'listening');
    this.#servers.push(server);
  }
}

/** True for a loopback IP address, as Node.js writes it. */
export function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address);
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}
