// Lines that stay, and below them a block that is drawn over; one write each, so that nothing flickers.

import { terminal } from '../runtime/process.ts';

export class Screen {
  #drawn: readonly string[] = [];

  line(text: string): void {
    terminal.write(`${this.#erasing()}${text}\n${block(this.#drawn)}`);
  }

  draw(lines: readonly string[]): void {
    terminal.write(`${this.#erasing()}${block(lines)}`);
    this.#drawn = lines;
  }

  #erasing(): string {
    return this.#drawn.length === 0 ? '' : `\u001b[${this.#drawn.length}A\u001b[0J`;
  }
}

function block(lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}
