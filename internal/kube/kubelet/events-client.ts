export { EventRecorder, type EventSubject } from '../client/events.ts';
