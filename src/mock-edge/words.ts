/** Names for quick tunnels: words that are short, plain and easy to read out. */
import { randomInt } from "node:crypto";

const WORDS = (
  "amber anchor apple arrow aspen autumn badger bamboo beacon birch bridge bronze canyon cedar cobalt comet copper coral " +
  "cotton cricket crystal desert dolphin dragon eagle ember falcon fern finch forest garden ginger glacier granite harbor " +
  "hazel heron honey island ivory jasmine juniper lagoon lantern lemon lilac linen lotus maple marble meadow mellow mint " +
  "monsoon nectar ocean olive onyx opal orchid otter pearl pebble pepper pine plum prairie quartz quiet raven reef ripple " +
  "river robin saffron sage sierra silver sparrow spruce summit sunset teal thistle timber topaz tulip tundra velvet " +
  "violet walnut willow winter zephyr"
).split(" ");

/** Four random words with hyphens between them. */
export function randomWords(): string {
  return Array.from({ length: 4 }, () => WORDS[randomInt(WORDS.length)]).join("-");
}
