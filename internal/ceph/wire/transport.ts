/** A byte stream as the shell gives it to the messenger: TCP in production, pipes in a simulation. */
export interface Transport {
  readonly remoteIp: string;
  readonly remotePort: number;
  readonly localIp: string;
  readonly localPort: number;
  /** Takes what there is room for and tells how many bytes; `onDrain` comes when there is room again after less than all were taken. */
  write(bytes: Uint8Array): number;
  pause(): void;
  resume(): void;
  /** Ends it at once; no handler is called after that. */
  close(): void;
}

export interface TransportHandlers {
  /** The bytes are the handler's: nobody changes them afterwards. */
  onData(bytes: Uint8Array): void;
  onDrain(): void;
  onClose(message: string): void;
}

export interface Network {
  /** Port 0 takes any free one. Rejects when the address is in use. */
  listen(
    ip: string,
    port: number,
    accept: (transport: Transport) => TransportHandlers,
  ): Promise<{ port: number; close(): void }>;
  dial(ip: string, port: number, opened: (transport: Transport) => TransportHandlers): Promise<void>;
}
