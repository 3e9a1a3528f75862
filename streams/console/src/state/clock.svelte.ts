/** The time, so that ages on the page stay true. */

class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => (this.now = Date.now()), 5_000);
  }
}

export const clock = new Clock();
