// What Kyoto Tycoon's server answers with, and its words for errors. Its client libraries read the words.

export const STATUS_TEXTS: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  204: 'No Content',
  400: 'Bad Request',
  404: 'Not Found',
  413: 'Payload Too Large',
  431: 'Request Header Fields Too Large',
  450: 'Logical Inconsistency',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
};

/** A procedure that did not give a result. */
export class KtError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export const noRecord = (): KtError => new KtError(450, 'DB: 7: no record: no record');
export const duplicate = (): KtError => new KtError(450, 'DB: 6: record duplication: record duplication');
export const conflict = (): KtError => new KtError(450, 'DB: 8: logical inconsistency: status conflict');
export const incompatible = (): KtError => new KtError(450, 'DB: 8: logical inconsistency: logical inconsistency');
export const invalidParameters = (): KtError => new KtError(400, 'invalid parameters');
