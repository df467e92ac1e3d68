"""Words of the two languages. Reads nothing, produces the tables that the deterministic reader looks words up in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NUMBERS: Final[Mapping[str, int]] = {
    **{word: n for n, word in enumerate("one two three four five six seven eight nine ten".split(), 1)},
    **{word: n for n, word in enumerate("first second third fourth fifth sixth seventh eighth ninth tenth".split(), 1)},
    **{word: n for n, word in enumerate("i ii iii iv v vi vii viii ix x".split(), 1)},
    **{word: n for n, word in enumerate("一二三四五六七八九十", 1)},
    "两": 2,
    "couple": 2,
    "twenty": 20,
    "dozen": 12,
    "十一": 11,
    "十二": 12,
    "十五": 15,
    "二十": 20,
    "三十": 30,
}

DECADES: Final[Mapping[str, int]] = {
    **dict(
        zip(
            "twenties thirties forties fifties sixties seventies eighties nineties".split(),
            range(20, 100, 10),
            strict=True,
        )
    ),
    **dict(zip("二三四五六七八九", range(20, 100, 10), strict=True)),
}

CATEGORIES: Final[Mapping[str, str]] = {
    "sci-fi": "science fiction",
    "sci fi": "science fiction",
    "scifi": "science fiction",
    "sf": "science fiction",
    "nonfiction": "non-fiction",
    "non fiction": "non-fiction",
    "ya": "young adult",
    "crime fiction": "crime",
    "detective": "mystery",
    "whodunit": "mystery",
    "spy": "espionage",
    "romantic": "romance",
    "scary": "horror",
    "comic": "graphic novel",
    "manga": "graphic novel",
    "short story": "short stories",
    "historical fiction": "historical",
    "memoirs": "memoir",
    "autobiography": "memoir",
    "biographies": "biography",
    "fantasies": "fantasy",
    "comedies": "comedy",
    "mysteries": "mystery",
    "tragedy": "drama",
    "war stories": "war",
    "classics": "classic",
    "animated": "animation",
    "cartoon": "animation",
    "documentaries": "documentary",
    "科幻": "science fiction",
    "奇幻": "fantasy",
    "魔幻现实": "magical realism",
    "魔幻": "fantasy",
    "玄幻": "fantasy",
    "恐怖": "horror",
    "惊悚": "thriller",
    "悬疑": "mystery",
    "推理": "mystery",
    "侦探": "mystery",
    "犯罪": "crime",
    "爱情": "romance",
    "言情": "romance",
    "浪漫": "romance",
    "历史": "historical",
    "战争": "war",
    "喜剧": "comedy",
    "搞笑": "comedy",
    "剧情": "drama",
    "传记": "biography",
    "回忆录": "memoir",
    "纪录": "documentary",
    "动画": "animation",
    "动漫": "animation",
    "漫画": "graphic novel",
    "武侠": "martial arts",
    "武打": "martial arts",
    "功夫": "martial arts",
    "西部": "western",
    "谍战": "espionage",
    "间谍": "espionage",
    "冒险": "adventure",
    "青春": "coming of age",
    "成长": "coming of age",
    "家庭": "family",
    "歌舞": "musical",
    "音乐剧": "musical",
    "讽刺": "satire",
    "反乌托邦": "dystopia",
    "赛博朋克": "cyberpunk",
    "太空歌剧": "space opera",
    "哥特": "gothic",
    "黑色": "noir",
    "短篇": "short stories",
    "散文": "essays",
    "随笔": "essays",
    "科普": "popular science",
    "非虚构": "non-fiction",
    "纪实": "non-fiction",
    "哲学": "philosophical",
    "政治": "political",
    "穿越": "time travel",
    "时间旅行": "time travel",
    "超级英雄": "superhero",
    "文学": "literary fiction",
}
"""What people call categories, and what catalogues do; it counts only where the target's catalogue has that one."""

LANGUAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "en": ("english", "英语", "英文"),
    "zh": ("chinese", "mandarin", "中文", "汉语", "华语", "国语", "中国"),
    "ja": ("japanese", "日语", "日文", "日本"),
    "fr": ("french", "法语", "法文", "法国"),
    "de": ("german", "德语", "德文", "德国"),
    "es": ("spanish", "西班牙语", "西语", "西班牙"),
    "it": ("italian", "意大利语", "意大利"),
    "ru": ("russian", "俄语", "俄文", "俄国", "俄罗斯"),
    "ko": ("korean", "韩语", "韩文", "韩国"),
    "pt": ("portuguese", "葡萄牙语", "葡萄牙"),
    "ar": ("arabic", "阿拉伯语"),
    "hi": ("hindi", "印地语"),
    "bn": ("bengali", "孟加拉语"),
    "fa": ("persian", "farsi", "波斯语", "伊朗"),
    "pl": ("polish", "波兰语", "波兰"),
    "sv": ("swedish", "瑞典语", "瑞典"),
    "no": ("norwegian", "挪威语", "挪威"),
    "da": ("danish", "丹麦语", "丹麦"),
    "nl": ("dutch", "荷兰语", "荷兰"),
    "tr": ("turkish", "土耳其语", "土耳其"),
    "cs": ("czech", "捷克语", "捷克"),
    "vi": ("vietnamese", "越南语", "越南"),
    "th": ("thai", "泰语", "泰国"),
    "id": ("indonesian", "印尼语", "印度尼西亚"),
    "he": ("hebrew", "希伯来语"),
    "el": ("greek", "希腊语", "希腊"),
    "fi": ("finnish", "芬兰语", "芬兰"),
}
"""ISO 639-1 code → what people call the language."""

DOMAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "film": ("film", "films", "movie", "movies", "cinema", "flick", "电影", "影片", "片子", "片"),
    "book": ("book", "books", "novel", "novels", "reading", "read", "书", "小说", "读物"),
    "music": ("music", "song", "songs", "album", "albums", "listen", "音乐", "歌", "歌曲", "专辑"),
    "game": ("game", "games", "play", "游戏"),
    "show": ("show", "shows", "series", "tv", "剧", "电视剧"),
    "course": ("course", "courses", "learn", "课程"),
    "product": ("product", "products", "产品", "商品"),
}
"""Kind of domain → the nouns for it; a domain is of a kind if its own name is one of the words or their plural."""
ASIDE: Final[Mapping[str, str]] = {"read": "book", "watch": "film", "watched": "film", "saw": "film", "listen": "music"}
"""Verbs that tell of which kind an item is."""

COMMON: Final = frozenset(
    """
    a about above after again against all alone along already also always am among an and another any anyone anything
    are around as ask at away back bad be beautiful because become bed been before begin behind being best better
    between big black blood blue boat body book born both boy break bring brother brown build burn but buy by call came
    can car care carry cat change child children city close cold color colour come confession country cross cry cut
    dark daughter day dead death deep different do dog done door down dream drive each early earth east easy eat end
    even ever every everything eye eyes face fall family far fast father fear feel few fight find fire first five fly
    for force foundation four free friend friends from full fun game garden get girl give go god gone good got great
    green had half hand happy hard has have he head hear heart heat help her here hers high him his history hit hold
    holes home hope hot hour hours house how human husband i ice if in inside into is island it its job journey just
    keep kid kill kind king kiss kitchen know lady land last late learn leave left legend less let letter life light
    like line little live lives long look lost love lover machine magic make man many master me memory men middle mind
    mine miss money moon more morning most mother mountain move movie much murder music must my name near never new next
    night no north not nothing now of off old on once one only open or other others our out over own paper part past
    people piano place plan play please power prince private prize quick quiet ran read reader real red rest right ring
    rise river road rock room run safe same sand say scream sea season second secret see seen sense set she ship shop
    short show silence sister sky sleep slow small snow so some something song soon soul south space speed spirit spring
    stand star start stay still stone stop storm story strange stranger street strong summer sun sweet take talk tell
    ten than that the their them then there these they thing things think third this those three through time to
    together tomorrow tonight too tree true truth try two under up us very voice wait walk wall want war was watch water
    way we wedding well went were west what when where which white who why wife wild will wind winter wish with without
    woman women wonder word words work world would write year years yes you young your essays disgrace cosmos
    """.split()
)
"""Words that say little about a title when they are all there is of it."""
POINTING: Final = frozenset("her him it us we up me you they them i m z x ran if so go no yes she he that this".split())
"""Words that are hardly ever a title, unless written as one."""
HAN_COMMON: Final = frozenset(
    "她 他 我们 你们 乱 豹 堤 耻 雪 洞 冰 飘 毛毛 大路 火车 活着 大地 觉醒 告白 沉默 情人 厨房 宇宙 罗马 燃烧 升华 "
    "赎罪 小姐 降临 一一 "
    "切腹 假面 后窗 基地 解密 呐喊 瓦解 诺言 证言 搜索者 同情者 在路上 我是猫 老实人 大都会 魔女".split()
)
"""Chinese titles that are everyday words too."""
