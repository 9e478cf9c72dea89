/** A place among the PGs that recover or backfill at a time. */
export interface Reservation {
  /** How urgent it is now: it may be given a place sooner, or take one from another. */
  reprioritise(priority: number): void;
  /** Withdraws the request, or gives the place back. */
  release(): void;
}

export interface ReservationRequest {
  /** Whose it is, for `dump_recovery_reservations`. */
  readonly item: string;
  /** Higher comes first. */
  readonly priority: number;
  granted(): void;
  /** Something more urgent waits: the place is to be given back as soon as what is under way has ended. */
  preempted(): void;
}

interface Place {
  request: ReservationRequest;
  priority: number;
  state: 'waiting' | 'granted' | 'done';
  preempted: boolean;
}

/**
 * Gives so many places, the most urgent request first, equals in their order (`AsyncReserver`). A request that is more urgent than one that has a place asks for it;
 * it gets it when that one has ended what it is doing.
 */
export class Reserver {
  readonly #max: () => number;
  readonly #soon: (run: () => void) => void;
  #waiting: Place[] = [];
  readonly #granted = new Set<Place>();

  /** `soon` calls back, but not from inside the caller. */
  constructor(max: () => number, soon: (run: () => void) => void) {
    this.#max = max;
    this.#soon = soon;
  }

  get granted(): number {
    return this.#granted.size;
  }

  request(request: ReservationRequest): Reservation {
    const place: Place = { request, priority: request.priority, state: 'waiting', preempted: false };
    this.#waiting.push(place);
    this.fill();
    return {
      reprioritise: (priority) => {
        if (place.priority === priority || place.state === 'done') return;
        place.priority = priority;
        this.fill();
      },
      release: () => {
        if (place.state === 'done') return;
        place.state = 'done';
        this.#waiting = this.#waiting.filter((other) => other !== place);
        this.#granted.delete(place);
        this.fill();
      },
    };
  }

  /** The number of places may have changed. */
  fill(): void {
    for (;;) {
      const next = this.#mostUrgent();
      if (next === undefined) return;
      if (this.#granted.size >= this.#max()) {
        this.#preemptFor(next);
        return;
      }
      this.#waiting = this.#waiting.filter((other) => other !== next);
      next.state = 'granted';
      this.#granted.add(next);
      this.#soon(() => {
        if (next.state === 'granted') next.request.granted();
      });
    }
  }

  #mostUrgent(): Place | undefined {
    let best: Place | undefined;
    for (const place of this.#waiting) if (best === undefined || place.priority > best.priority) best = place;
    return best;
  }

  /** One at a time: the place that is given back may be enough. */
  #preemptFor(next: Place): void {
    let least: Place | undefined;
    for (const place of this.#granted) {
      if (place.preempted) return;
      if (least === undefined || place.priority < least.priority) least = place;
    }
    if (least === undefined || least.priority >= next.priority) return;
    const victim = least;
    victim.preempted = true;
    this.#soon(() => {
      if (victim.state === 'granted') victim.request.preempted();
    });
  }

  /** Upstream's shape (`AsyncReserver::dump`). */
  dump(): Record<string, unknown> {
    const shown = (place: Place): Record<string, unknown> => ({
      item: place.request.item,
      prio: place.priority,
      can_preempt: true,
    });
    const priorities = [...new Set(this.#waiting.map(({ priority }) => priority))].sort((a, b) => a - b);
    return {
      max_allowed: this.#max(),
      min_priority: 0,
      queues: priorities.map((priority) => ({
        priority,
        items: this.#waiting.filter((place) => place.priority === priority).map(shown),
      })),
      in_progress: [...this.#granted].map(shown),
    };
  }
}
