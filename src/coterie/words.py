"""The 2,048 words in which an invitation may be spelled: eleven bits each.

They are common English words of four to seven letters that are spelled alike everywhere. The first four letters tell
them apart. No letter changed, added, left out or exchanged with its neighbour makes one of them another. None consists
of hexadecimal digits. The list never changes: another one would be another version of the format.
"""

from __future__ import annotations

from functools import cache

LETTERS = 4
"""So many letters of a word tell which it is."""


@cache
def words() -> tuple[str, ...]:
    """All words, in alphabetical order."""
    return tuple(_WORDS.split())


@cache
def by_start() -> dict[str, int]:
    """The first four letters of each word, and its place."""
    return {word[:LETTERS]: place for place, word in enumerate(words())}


_WORDS = """
abacus abbey ability about above abroad absent absorb academy accept account achieve acorn acquire acre acrobat acting
actor actress actual address adjust admire adopt adore advance advent advise aerial affirm afloat after again agenda
agile agree ahead ahoy airfare airline airport airship airway aisle alarm album alcove alert algebra alien alike allergy
alloy almanac almost aloft alone alpaca alpha alpine already also altar always amaze amber ambient amble amend amid
among amplify amuse anagram analog anatomy anchor ancient angel angler animal ankle annual another answer antenna anthem
antique anvil anybody anyhow anyone anyway apart apex apparel appeal applaud approve apricot apron aptly aquatic arbor
arcade archive arctic ardent arena argue arise aroma around arrange arrive artery artist artwork ascend ashore aside
asleep aspect asphalt asset assist assume athlete atlas atom attach attend attic attract auburn auction audit august
aunt aura aurora author autumn avenue average aviator avocado avoid await awake award away awesome awhile awning axis
axle azalea azure babble baby backup badger bagel baggage bagpipe bakery balance balcony ballad balm balsa bamboo banana
bandage bangle banjo bank banner banquet bargain barley baron barrel barter basil basket bathtub battery bazaar beacon
beagle beam beanbag beaver because beckon become bedding bedroom bedtime beehive beeline beep beetle before begin behind
beige bellboy beloved bench benefit beside best better between beyond bicycle biology biplane birch bird biscuit bison
bistro blanket blast blazer blend blimp blink bliss block bloom blossom blouse blower blue bluff blunt board boat bobbin
bobcat bobsled bonanza bond bonfire bongo bonsai bonus bookend boost border boss bother bounty bouquet bowling boxcar
boxer bracket braid bramble branch brass brave breadth breeze brewery brick bridle brief bright brim bring bristle
bronco brook broth browse brush bucket budget buffet buggy bugle bulk bumper bundle bunker bureau burner burrow burst
bushel buster butler button buyer bypass byway cabaret cabbage cabin caboose cactus cadet calcium calico call calorie
calypso camera campus canary candid canopy canteen canvas canyon capable capital capsule capture caramel carbon career
cargo caribou carol carpet cartoon cascade cattle causal caution cavalry cave caviar cedar ceiling celery cellar cement
central cereal certain chain chalk channel chapel chariot chase chat cheap cheddar cheese chemist cherry chess chicken
chief child chimney chirp chisel choice choose chorus chuckle chutney cinder cinema cipher circus citadel citizen citrus
city civic claim clan clasp clause clear clever client cliff climate clinic cloak close cloth cloud clown club cluster
clutch coach cobalt cobbler cobra cobweb cockpit coconut cold collect colony column comedy comfort common compose
concert condor cone confirm connect console contact convoy cookery copper copy cork corner corral cosmic cost cottage
cougar council coupon courage cousin cowboy coyote crab cradle craft crane crater crawl crayon create credit crest crew
cricket crimson crisp crocus cross crowd crucial cruiser crumb crunch crystal cubic cuckoo cuddle culture cupcake cupid
curator curious curl current cursor curve cushion custom cutter cyclist cypress dahlia daily dance dandy dapper daring
dash data daycare daytime dazzle debate debut decent decide deck declare decoy deer default defend define degree delay
delete deliver delta deluxe demand depot depth deputy derby design dessert destiny detach detect detour develop device
dewdrop diagram dial diamond diary digest digger digit dignity dilemma dime diner diploma direct disc display distant
divide docking doctor dodge dollar dolphin domain domino donate donkey donor doodle doorway dose dotted double dozen
dragon drama drawer dream dress drift drink drive drizzle drone drop drummer dryer duchess duet duke dummy durable duty
dynamic each eager earlobe earmuff earn earring earth easel easy eatery ebony echo eclair eclipse ecology economy edible
editor educate effect either eject elastic elbow elder elegant element eleven elite elixir elude email embassy emblem
emerald emotion emperor employ empty enamel enchant encode endless energy enforce engage engine engrave enhance enigma
enjoy enlarge enlist enquire enrich ensure enter entire enzyme epic episode epoch equator eraser ermine escape essay
estate eternal ethic evening every exact examine except excite exhibit exist exotic expect explore export express extend
extra eyebrow eyelash fable fabric factory faculty faint fairy faith falafel falcon family famous fancy fantasy farmer
fashion fasten faucet feature federal fedora fence fennel fertile festive fiction fiddler fidget fifteen figure file
filter finance finish fireman firm first fiscal fish fizzle flag flake flannel flash flatten flex flicker flight flip
floor florist flowing fluid flurry flute flyer focus foil foliage folk follow fondue font food footing forest forge
formula fortune forum forward fossil fragile frame frank freckle freezer freight fresh friday friend frigate fringe
frost frozen fruity fudge fund funny furnace further future fuzzy gadget galaxy gallop gamma gander garage garden gargle
garland garment garnet gateway gather gazebo gear gecko gelato gemini general genius gently genuine geology gesture
giant gift giraffe girder girl give glacial glad glance glass glaze glee glimmer glitter global glory glossy glove
glucose goal goblin going golden golf gondola goodbye goofy gopher gorilla gosling gown grace grain grammar granite
graph grasp gravity grease green grid grill grocery groove group growing guard guava guess guide guild guinea guitar
gush guzzle gymnast habitat haddock hail hairpin halfway hamlet hammer hamster handbag happily hardy harmony harness
harp harrow harvest haste hatbox haven hawk hayloft hazel health heart heavy height helium helmet helper herd heroic
hexagon hickory hidden highway hill hinge hippo hire history hobby holding holiday holly homage home honest honk hopeful
horde horizon horn hosting hotel house however huge human humid humming hunch hundred hurry hybrid hyphen iceberg icicle
icing icon idea igloo iguana imagine impact imply import inch income index indigo indoor inform initial inkblot inkpot
inner input insert inside inspire intro invent invite invoice iris island item itself ivory jacket jade jagged jaguar
january jasmine jasper javelin jawline jazz jeans jelly jersey jester jetty jewel jiffy jigsaw jockey jogger join joke
journal joyful jubilee judo juggler juice jukebox july jumbo jump june jungle junior justice karate kayak kebab keen
keeper kestrel ketchup kettle keyhole keynote keypad keyring kick kiln kimono kindle kingdom kiosk kitchen kite kiwi
knee knight knitted know koala label laborer lace ladder ladle ladybug lagoon lamb landing lantern laptop larch large
lark later lattice laugh laundry laurel lava lawful lawn lawyer leader leaflet league leap learner leather leave ledge
legacy legend legion legume leisure lemon lemur lengthy lens lentil leopard lesson lettuce level liberty library liftoff
lighter likely lilac lily limit linen lion liquid listen little llama loaf lobster locate locker lodger logic longbow
lookout loop lord lotus lounge lovely loyal lucky luggage lunar luxury lynx lyrical machine magenta magic magma magnify
magpie mailbox main majesty maker mallet mammoth manager mankind mansion mantle manual maple mapping marble marina
market marlin maroon mascot mason mate matrix matter mature maximum maybe mayor meadow meander measure medal medic
medley melody member memory mention menu mercury merge merit mermaid merry message meteor method metric midday migrate
milk mimosa mind mineral minimum minnow minute miracle mirror mission mist mitten mixture mobile modest molar moment
monarch money monitor monsoon month moonlit moose moral morning mosaic motor movie muffler mule muscle museum musical
mustang mutual myrtle nachos name nanny napkin narrate nation natural navy nearby nebula nectar need neon nephew neptune
network neutral newborn newly next nickel niece nightly nimble ninety ninth noble nobody node nomad nook normal notable
notch nothing notify nourish novel novice nozzle number numeral nursery nurture nutmeg nylon oasis oatmeal object oboe
observe obtain obvious occupy ocean octave octet october oddly odyssey offer office offline offset often oilskin okra
olive olympic omega omit omnibus onion online only onward onyx opening operate opinion option opus oracle orange orbit
orchid orderly oregano organic orient origin oriole osprey ostrich otter ounce outback outcome outdoor outfit outgrow
outline output outside outward oval ovation overall owlet owner oxygen oyster ozone pacific package padlock pageant
pagoda painter palace palette panama pancake panda panel pantry papaya paper parable parcel pardon parent parka parrot
parsley partner passage pasture path patio patrol pattern pause payment payroll peacock peak peanut pearl pebble pecan
peel pelican pencil penguin pennant people peppery perform perhaps period permit person pesto petal petunia phoenix
phone photo phrase physics pianist piccolo pickle picnic picture pigeon piglet pigment pigtail pilgrim pillar pinball
pioneer pipe piping piston pitch pivot pixel pizza placid plain planner plaque plasma platter playful plaza plenty plot
plug plumber plush plywood pocket podcast poem poetry point poker pole polish polka pollen pompom poncho pony popcorn
poppy popular portal possum postage potato pottery pouch poultry pound powder prairie precise preface premium prepare
present pretty prince prior prism privacy prize problem process produce profit project promise proof proud provide
public pudding pulley pulse pumpkin pupil puppet pure purity purpose pursue pyramid python quail quality quantum quarter
quasar queen quest queue quick quilted quince quite quiver quiz quota rabbit raccoon radar radiant railing rainbow
raisin rally random ranger rapidly rare ravine react readily realm reason rebound rebuild recall receipt recipe recline
recover recruit recycle reduce redwood referee reflect reform refresh refuge regatta regent regular relate release
remain remedy remind remove renewal repair repeat reply report require rescue reserve resin resolve respect restore
result retail return reunion revere review reward rhino rhubarb rhyme rhythm ribbon rice richly riddle ridge ripple
ritual river roadway roam roast robin robot robust rodeo roller romance rooftop rope rosebud roster rosy rotate rough
roundup routine rowboat royalty rubber rudder ruffle rugby rugged ruler runaway runner rural rusty saddle safari safe
saffron salary salmon salt salute salvage sample sandbox sapling sardine satchel satire saturn saucer sauna sausage
sawdust scale scamper scan scarlet scatter scenery school science scooter score scout screen script seafood seal search
seaside seaweed second section secure sedan seek seesaw seldom select selfie senate senior sense sentry serene service
sesame seventy shadow shape shard shaving sheep shelter sheriff shield shift shimmer shiny ship shiver shoe short shovel
shower shred shrine shrub shuffle shut sierra sight signal silence silicon silver similar sincere singer sister sixteen
size skating sketch skillet skipper skirt skyline skyward slate sled sleepy sleuth slick slide slim slogan slope slow
small smart smile smith smooth snail snap sneeze snooze snorkel snowman soaring soccer social sock sodium soft solemn
solid solo solve song sonic sonnet soon soothe soprano soul source south soybean spade sparrow spatula spear special
speech spell spend spice spider spinach spiral splash spoke sponge spool spot spray spread spring sprout spruce square
squeeze squid stack stadium stage stair stamp stand staple stash statue stay steamer steel stencil stereo stew still
stop storage stove straw street stride stroll studio stuff sturdy style subject sublime subtle suburb subway success
sudden sugar suggest suit summit sunday sunrise super support surfing surplus survey sushi sustain swallow swarm sweater
sweeten swing swirl switch swivel swoop symbol syrup system tabby tablet taco tactic tadpole tailor take talent talking
talon tandem tango target tart task tassel tavern taxi teacup teapot teenage tell temper tenant tender tennis tenor
tenth term terrace testify texture thank theme theory thermal thimble thing thirst thistle though thread thrifty throne
thrush thumb thunder ticket tide tiger timber tingle tinsel tiny tiptoe tissue titanic title toad toaster today toddler
toffee toggle token tomato tonight tool tooth topaz topic torch total totem tour toward tower tractor trade traffic
trail trapeze travel tray treat treetop trek trench tribute trio triple triumph trivial trolley trooper trophy trout
true trumpet trunk trust truth tube tuck tuesday tugboat tuition tulip tumble tuna tundra tunic tunnel turbo turkey
turnip turret turtle tutor tuxedo tweed twelve twenty twice twig twinkle twist type typhoon typical ukulele umpire
unable uncle uncover under unfold unicorn uniform unique unit unknown unless unlike unlock unpack unreal until unusual
unwrap update upgrade uphill uphold upland upload upper upright upshot upside urban urgent usage useful usually utensil
utility vacant vacuum valet valid valley value vanity variety varnish vase vault vehicle veil vellum velvet vendor
venture verb verify verse vessel veteran viaduct vibrate victory video view viking village vinegar vintage violin virtue
visa vision visual vitamin vivid vocal voice volcano volt volume vote voucher vowel voyager wage wagon waiter walkway
wallaby walnut walrus waltz want warmth warning warrant watch wayside wealthy webpage weekend weigh welcome welfare
western wetland whale wharf wheat wheel where whisper white width wiggle wild willow window winter wisdom wise witness
witty wizard wobble wombat wonder worldly worth wrapper wrinkle writing yacht yard yearly yeast yellow yield yodel yoga
young zebra zenith zero zigzag zinc zinnia zipper zodiac zoology zoom
"""
