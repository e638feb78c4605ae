"""The commands of KaTeX 0.16.47, which draws the page's maths, as far as a message may use them.

Taken from KaTeX itself, command by command, without those that colour, hide, measure, define or load something.
"""


def _names(written: str) -> frozenset[str]:
    return frozenset(written.split())


SYMBOLS = _names("""
    Alpha And Bbbk Beta Box Bumpeq Cap Chi Colonapprox Coloneq Coloneqq Colonsim Cup Dagger Darr Delta Diamond Doteq
    Downarrow Epsilon Eqcolon Eqqcolon Eta Finv Game Gamma Harr Im Iota Join KaTeX Kappa LaTeX Lambda Larr Leftarrow
    Leftrightarrow Lleftarrow Longleftarrow Longleftrightarrow Longrightarrow Lrarr Lsh Mu N Nu Omega Omicron P Phi
    Pi Psi R Rarr Re Rho Rightarrow Rrightarrow Rsh S Sigma Subset Supset Tau TeX Theta Uarr Uparrow Updownarrow
    Upsilon Vdash Vert Vvdash Xi Z Zeta alef alefsym aleph alpha amalg angle approx approxeq ast asymp backepsilon
    backprime backsim backsimeq backslash barwedge because beta beth between bigcirc bigstar bigtriangledown
    bigtriangleup blacklozenge blacksquare blacktriangle blacktriangledown blacktriangleleft blacktriangleright bot
    bowtie boxdot boxminus boxplus boxtimes bull bullet bumpeq cap cdot cdotp cdots centerdot checkmark chi circ
    circeq circlearrowleft circlearrowright circledR circledS circledast circledcirc circleddash clubs clubsuit
    colon colonapprox coloncolon coloncolonapprox coloncolonequals coloncolonminus coloncolonsim coloneq coloneqq
    colonequals colonminus colonsim complement cong copyright cup curlyeqprec curlyeqsucc curlyvee curlywedge
    curvearrowleft curvearrowright dArr dag dagger daleth darr dashleftarrow dashrightarrow dashv dblcolon ddag
    ddagger ddots degree delta diagdown diagup diamond diamonds diamondsuit digamma div divideontimes doteq doteqdot
    dotplus dots dotsb dotsc dotsm dotso dotsx doublebarwedge doublecap doublecup downarrow downdownarrows
    downharpoonleft downharpoonright ell empty emptyset epsilon eqcirc eqcolon eqqcolon eqsim eqslantgtr eqslantless
    equalscolon equalscoloncolon equiv eta eth exist exists fallingdotseq flat forall frown gamma ge geq geqq
    geqslant gets gg ggg gggtr gimel gnapprox gneq gneqq gnsim gt gtrapprox gtrdot gtreqless gtreqqless gtrless
    gtrsim gvertneqq hArr harr hbar hearts heartsuit hookleftarrow hookrightarrow hslash iiint iint image imageof
    imath in infin infty int intercal iota isin jmath kappa lArr lBrace lVert lambda land lang langle larr lbrace
    lbrack lceil ldotp ldots le leadsto leftarrow leftarrowtail leftharpoondown leftharpoonup leftleftarrows
    leftrightarrow leftrightarrows leftrightharpoons leftrightsquigarrow leftthreetimes leq leqq leqslant lessapprox
    lessdot lesseqgtr lesseqqgtr lessgtr lesssim lfloor lgroup lhd ll llbracket llcorner lll llless lmoustache
    lnapprox lneq lneqq lnot lnsim longleftarrow longleftrightarrow longmapsto longrightarrow looparrowleft
    looparrowright lor lozenge lparen lrArr lrarr lrcorner lt ltimes lvert lvertneqq maltese mapsto mathellipsis
    mathsterling measuredangle mho mid minuscolon minuscoloncolon models mp mu multimap nLeftarrow nLeftrightarrow
    nRightarrow nVDash nVdash nabla natural ncong ne nearrow neg neq nexists ngeq ngeqq ngeqslant ngtr ni nleftarrow
    nleftrightarrow nleq nleqq nleqslant nless nmid not notin notni nparallel nprec npreceq nrightarrow nshortmid
    nshortparallel nsim nsubseteq nsubseteqq nsucc nsucceq nsupseteq nsupseteqq ntriangleleft ntrianglelefteq
    ntriangleright ntrianglerighteq nu nvDash nvdash nwarrow odot oiiint oiint oint omega omicron ominus oplus
    ordinarycolon origof oslash otimes owns parallel partial perp phi pi pitchfork pm pounds prec precapprox
    preccurlyeq preceq precnapprox precneqq precnsim precsim prime propto psi rArr rBrace rVert rang rangle rarr
    rbrace rbrack rceil restriction rfloor rgroup rhd rho rightarrow rightarrowtail rightharpoondown rightharpoonup
    rightleftarrows rightleftharpoons rightrightarrows rightsquigarrow rightthreetimes risingdotseq rmoustache
    rparen rrbracket rtimes rvert sdot searrow sect setminus sharp shortmid shortparallel sigma sim simeq smallfrown
    smallsetminus smallsmile smile spades spadesuit sphericalangle sqcap sqcup sqsubset sqsubseteq sqsupset
    sqsupseteq square star sub sube subset subseteq subseteqq subsetneq subsetneqq succ succapprox succcurlyeq
    succeq succnapprox succneqq succnsim succsim supe supset supseteq supseteqq supsetneq supsetneqq surd swarrow
    tau textcopyright textregistered therefore theta thetasym thickapprox thicksim times to top triangle
    triangledown triangleleft trianglelefteq triangleq triangleright trianglerighteq twoheadleftarrow
    twoheadrightarrow uArr uarr ulcorner unlhd unrhd uparrow updownarrow upharpoonleft upharpoonright uplus upsilon
    upuparrows urcorner vDash varDelta varGamma varLambda varOmega varPhi varPi varPsi varSigma varTheta varUpsilon
    varXi varepsilon varkappa varnothing varphi varpi varpropto varrho varsigma varsubsetneq varsubsetneqq
    varsupsetneq varsupsetneqq vartheta vartriangle vartriangleleft vartriangleright varvdots vdash vdots vee veebar
    vert wedge weierp wp wr xi yen zeta
    """)
"""Stand alone, also as an index or exponent without braces."""

OPERATORS = _names("""
    Pr approxcolon approxcoloncolon arccos arcctg arcsin arctan arctg arg argmax argmin bf bigcap bigcup bigodot
    bigoplus bigotimes bigsqcup biguplus bigvee bigwedge bmod cal ch coprod cos cosec cosh cot cotg coth csc ctg cth
    deg det dim displaystyle dotsi enskip enspace exp gcd hom iff impliedby implies inf injlim intop it ker lg lim
    liminf limsup ln log max medspace min minuso negmedspace negthickspace negthinspace nonumber notag plim prod
    projlim qquad quad ratio rm scriptscriptstyle scriptstyle sec sf sh simcolon simcoloncolon sin sinh smallint sum
    sup tan tanh textstyle tg th thickspace thinspace tt varinjlim varliminf varlimsup varprojlim vcentcolon
    """)
"""Stand alone, but need braces in an index or exponent."""

LIMIT_OPERATORS = _names("""
    Pr arccos arcctg arcsin arctan arctg arg argmax argmin bigcap bigcup bigodot bigoplus bigotimes bigsqcup
    biguplus bigvee bigwedge ch coprod cos cosec cosh cot cotg coth csc ctg cth deg det dim exp gcd hom iiint iint
    inf injlim int intop ker lg lim liminf limsup ln log max min oiiint oiint oint plim prod projlim sec sh sin sinh
    smallint sum sup tan tanh tg th varinjlim varliminf varlimsup varprojlim
    """)
"""May be followed by `\\limits` or `\\nolimits`."""

DELIMITERS = _names("""
    Darr Downarrow Uarr Uparrow Updownarrow Vert backslash dArr darr downarrow gt lVert lang langle lbrace lbrack
    lceil lfloor lgroup lmoustache lparen lt lvert rVert rang rangle rbrace rbrack rceil rfloor rgroup rmoustache
    rparen rvert uArr uarr uparrow updownarrow vert
    """)
"""May follow `\\left`, `\\right` and `\\big`."""

DELIMITER_CHARACTERS = frozenset("()[]|/.<>") | {r"\{", r"\}", r"\|"}
"""Delimiters that are no command names."""

SIZED_DELIMITERS = frozenset(f"{size}{side}" for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r", "m"))
"""Commands that take one delimiter."""

FONTS = _names("""
    Bbb bold frak mathbb mathbf mathcal mathfrak mathit mathnormal mathrm mathscr mathsf mathtt pmod
    """)
"""Take one argument of maths, also as an index or exponent without braces."""

ACCENTS = _names("""
    Overrightarrow acute bar bcancel bm boldsymbol boxed bra braket breve cancel check ddot dot grave hat ket
    mathbin mathclose mathinner mathop mathopen mathord mathpunct mathrel mathring operatorname overbrace
    overleftarrow overleftrightarrow overline overrightarrow pmb sout substack tilde underbrace underleftarrow
    underline underrightarrow vec widecheck widehat widetilde xcancel
    """)
"""Take one argument of maths."""

WITH_OPTION = _names("sqrt xLeftarrow xRightarrow xleftarrow xleftrightarrow xmapsto xrightarrow")
"""Take one argument of maths, and one in square brackets before it if need be."""

TEXTS = _names("text textbf textit textnormal textrm textsf texttt")
"""Take one argument of text."""

FRACTIONS = _names("binom cfrac dbinom dfrac frac tbinom tfrac")
"""Take two arguments of maths, also as an index or exponent without braces."""

STACKS = _names("overset stackrel underset")
"""Take two arguments of maths."""

ENVIRONMENTS = {
    **dict.fromkeys(("matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix"), 0),
    **dict.fromkeys(("cases", "dcases", "rcases", "aligned", "gathered", "array"), 0),
    **dict.fromkeys(("align", "align*", "gather", "gather*"), 0),
    "split": 2,
    "equation": 1,
    "equation*": 1,
}
"""Environments and the most columns that each may have; 0 is any number."""

DISPLAY_ENVIRONMENTS = frozenset(("align", "align*", "gather", "gather*", "equation", "equation*", "split"))
"""Environments that stand in a display of their own only."""
