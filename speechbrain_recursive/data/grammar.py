"""Sentences for synthetic corpora, from one small grammar for each language.

The English grammar has a little over 200 word types. They are chosen to sound different: there are no
homophones, few pairs that differ in one sound, and no word in both singular and plural. The Mandarin
grammar has a little over 100 characters. As eSpeak NG pronounces them in their words, no two of them
sound alike, tones included; eSpeak knows all of them. The French grammar has a little over 200 word
types in their usual spelling, with accents, ligatures, hyphens and elided articles. Many nouns begin
with vowels, so that there is liaison. Of all words only a and à sound alike.
"""

import random
import re

# A list holds choices with {rules} in them; a string holds one word for each choice.
ENGLISH = {
    "S": [  # a choice that is listed twice is drawn twice as often
        "{subject} {past} {thing}",
        "{subject} {past} {thing}",
        "{subject} {past} {objects} {place}",
        "{subject} {past} {objects} {time}",
        "{time} {subject} {past} {one} {object}",
        "{order} {base} {thing}",
        "{order} {base} {thing}",
        "{order} {base} {one} {object}",
        "{order} {base} THE {object} {place}",
        "{ask} {subject} {base} {thing}",
        "WHO {past} {thing}",
        "WHO {past} {objects} {place}",
    ],
    "subject": ["THE {person}", "THE {person}", "{name}", "{everyone}"],
    "thing": [
        "{one} {object}",
        "{one} {adjective} {object}",
        "{number} {objects}",
        "{number} {adjective} {objects}",
        "{adjective} {objects}",
    ],
    "place": ["{preposition} THE {location}"],
    "person": """DOCTOR TEACHER FARMER SAILOR BAKER SOLDIER LAWYER PILOT JUDGE PRINCESS COUSIN UNCLE
        GRANDMOTHER CHILDREN NEIGHBOR MUSICIAN HUNTER THIEF CAPTAIN STUDENT
        POLICEMAN""",
    "name": """ALEXANDER BENJAMIN CHARLOTTE ELIZABETH FREDERICK JESSICA MARGARET OLIVER VICTORIA
        ZACHARY""",
    "everyone": "THEY NOBODY",
    "past": """FOUND CARRIED BOUGHT COUNTED DROPPED BORROWED COLLECTED DELIVERED PHOTOGRAPHED CHOSE
        POLISHED MEASURED NOTICED ORDERED REPAIRED STOLE WASHED DISCOVERED FORGOT""",
    "base": """BRING FOLLOW IGNORE TOUCH REMEMBER BUILD SELL EXPLAIN KEEP THROW PROTECT DESCRIBE
        VISIT""",
    "order": ["PLEASE", "DON'T", "WE'LL", "LET'S", "YOU CAN", "{name} MUST"],
    "ask": ["WHY DID", "WHEN DID", "HOW COULD"],
    "one": "THE MY HER EVERY ANOTHER",
    "number": "THREE FIVE SIX SEVEN NINE ELEVEN TWELVE TWENTY SOME",
    "adjective": """YELLOW PURPLE GREEN BROWN ORANGE SILVER WOODEN ANCIENT BROKEN BEAUTIFUL
        DANGEROUS EXPENSIVE EMPTY FAMOUS HEAVY LITTLE MODERN PLASTIC QUIET NARROW STRANGE
        WONDERFUL CRAZY FROZEN BLACK""",
    "object": """BASKET LANTERN PICTURE BICYCLE GUITAR HAMMER BLANKET UMBRELLA MIRROR TELEPHONE
        VIOLIN CAMERA PACKAGE COMPUTER DIAMOND NECKLACE NEWSPAPER PIANO PUMPKIN ROCKET
        SANDWICH SUITCASE SWORD TRUMPET VASE WAGON LETTER STATUE""",
    "objects": """APPLES BOTTLES BUTTONS CANDLES CHICKENS COOKIES FLOWERS HORSES LEMONS MUSHROOMS
        PENCILS POTATOES RABBITS PARROTS SPIDERS TURTLES WINDOWS ZEBRAS GIRAFFES MONKEYS DOLPHINS
        FEATHERS FOXES BANANAS""",
    "preposition": "BEHIND NEAR UNDER INSIDE ABOVE ACROSS FROM OPPOSITE",
    "location": """GARDEN BRIDGE CASTLE CHURCH FOREST HARBOR HOSPITAL KITCHEN LIBRARY MARKET
        MOUNTAIN MUSEUM OFFICE RIVER SCHOOL STATION THEATER UNIVERSITY VILLAGE FACTORY""",
    "time": [
        "YESTERDAY",
        "LAST WINTER",
        "LAST SUMMER",
        "BEFORE BREAKFAST",
        "AFTER DINNER",
        "ON SATURDAY",
        "AT MIDNIGHT",
        "AT {hour} O'CLOCK",
        "THIS MORNING",
        "IN SEPTEMBER",
    ],
    "hour": "THREE FIVE SIX SEVEN NINE ELEVEN TWELVE",
}
MANDARIN = {
    "S": [
        "{who} {past} 了 {thing}",
        "{who} {past} 了 {thing}",
        "{time} {who} {past} 了 {thing}",
        "{time} {who} {past} 了 {thing}",
        "{who} 在 {place} {past} 了 {thing}",
        "{who} 在 {place} {past} 了 {thing}",
        "{order} {base} {thing}",
        "{order} {base} {place} 的 {object}",
        "{who} {ask} {base} {thing}",
        "谁 {time} {past} 了 {thing}",
    ],
    "thing": ["{number} {object}", "{number} {object}", "{quality} 的 {object}"],
    "who": ["{person}", "{person}", "{person}", "我们"],
    "person": "老师 农民 警察 奶奶 爷爷 护士 国王 司机",
    "past": "买 卖 找到 借走 洗 送 偷 丢",
    "base": "拿 打开 等 搬",
    "order": "请 别 可以",
    "ask": "为什么",
    "number": "一个 两只 三本 四张 五把 六条",
    "quality": "红色 黑色 便宜 奇怪",
    "object": "苹果 西瓜 足球 手机 老虎 鸭子 狗 地图 雨伞 裙子 鱼 牛奶 帽子 花",
    "time": "昨天 去年 早上 周末",
    "place": "公园 学校 厨房 桥下 海边 银行 门口",
}
FRENCH = {
    "S": [
        "{subject} a {done} {thing}",
        "{subject} a {done} {thing}",
        "{subject} a {done} {things} {place}",
        "{people} ont {done} {thing}",
        "{people} ont {done} {things} {time}",
        "{time} {subject} a {done} {object}",
        "{order} {base} {thing}",
        "{order} {base} {object} {place}",
        "{ask} {base} {thing}",
        "qui a {done} {things}",
    ],
    "subject": ["{person}", "{person}", "{name}", "quelqu'un"],
    "person": ["le {man}", "mon {uncle}", "la {woman}", "{elided_person}"],
    "man": "médecin garçon cuisinier professeur",
    "uncle": "grand-père frère oncle cousin",
    "woman": "boulangère princesse danseuse",
    "elided_person": "l'infirmière l'avocat l'étudiant l'architecte",
    "people": ["les {many}", "ses {many}", "nos {many}"],
    "many": "enfants élèves amis ouvriers voisins musiciens pompiers touristes",
    "name": "Élodie Jérôme Hélène François Zoé Xavier Béatrice Guillaume Martine Yasmine Karim",
    "done": """trouvé acheté perdu vendu caché apporté dessiné oublié reçu ouvert choisi emprunté réparé
        découvert volé peint préparé""",
    "base": """prendre suivre construire décrire remplir détruire protéger toucher présenter garder
        chercher copier""",
    "order": ["il faut", "tu peux", "nous allons", "elle voudrait", "n'oublie pas de", "{please}"],
    "please": ["j'aimerais", "essayez de"],
    "ask": ["pourquoi faut-il", "comment peut-elle", "où va-t-il", "quand veux-tu", "{may}"],
    "may": ["est-ce qu'elle doit"],
    "thing": ["{object}", "{object} {adjective}", "{object} {adjective}", "{things}"],
    "object": ["le {masculine}", "un {masculine}", "la {feminine}", "une {feminine}", "{elided}"],
    "masculine": """gâteau vélo tableau piano téléphone parapluie miroir journal panier couteau camion
        fromage tambour collier kiwi""",
    "feminine": """fenêtre guitare valise lampe chaise montre poupée fourchette voiture flûte boîte
        bougie leçon pêche""",
    "elided": "l'échelle l'armoire l'éventail l'ordinateur l'épée l'écharpe l'image",
    "adjective": """rouge jaune bizarre magnifique énorme fragile inutile célèbre moderne étrange
        fantastique héroïque rapide""",
    "things": ["{number} {plural}"],
    "number": "deux trois quatre cinq huit neuf onze quinze vingt trente plusieurs quelques",
    "plural": """arbres oiseaux abeilles éléphants ânes œufs assiettes étoiles horloges orchidées citrons
        champignons bouteilles crayons papillons tortues carottes lapins""",
    "place": ["{preposition} {location}"],
    "preposition": "devant derrière dans vers sous",
    "location": ["le {here}", "la {there}", "{elided_place}"],
    "here": "jardin château théâtre musée marché pont village",
    "there": "forêt gare rivière bibliothèque montagne plage cuisine",
    "elided_place": "l'hôpital l'église l'école l'usine l'île l'université",
    "time": ["{day}", "{day}", "à {hour} heures", "avant le dîner", "cette année", "{season} dernier"],
    "day": ["hier", "ce matin", "samedi soir", "dimanche", "en août", "à Noël", "à midi", "aujourd'hui"],
    "season": "l'été l'hiver",
    "hour": "cinq huit neuf onze quinze vingt",
}
GRAMMARS = {
    language: {
        rule: choices.split() if isinstance(choices, str) else choices for rule, choices in rules.items()
    }
    for language, rules in {"en-us": ENGLISH, "cmn": MANDARIN, "fr": FRENCH}.items()
}


def word_types(language: str = "en-us") -> list[str]:
    """List the words of a grammar.

    Arguments
    ---------
    language : str
        A key of ``GRAMMARS``.

    Returns
    -------
    list of str
        Sorted.

    Example
    -------
    >>> len(word_types("en-us")) > 200
    True
    """
    choices = " ".join(choice for rule in GRAMMARS[language].values() for choice in rule)
    return sorted({*re.sub(r"{\w+}", " ", choices).split()})


def sentences(count: int, seed: int | str, language: str = "en-us") -> list[str]:
    """Draw sentences, no two alike.

    Arguments
    ---------
    count : int
        How many.
    seed : int or str
        A longer list with the same seed begins with the shorter one.
    language : str
        A key of ``GRAMMARS``.

    Returns
    -------
    list of str
        Words and spaces; English ones in upper case, French ones with names in title case.

    Example
    -------
    >>> sentences(5, seed=1) == sentences(9, seed=1)[:5]
    True
    """
    grammar, rng, found = GRAMMARS[language], random.Random(seed), {}

    def expand(rule):
        choice = rng.choice(grammar[rule])
        return re.sub(r"{(\w+)}", lambda match: expand(match[1]), choice)

    while len(found) < count:
        found[expand("S")] = None
    return list(found)
