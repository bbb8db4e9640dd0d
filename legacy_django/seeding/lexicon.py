# SPDX-License-Identifier: Apache-2.0
"""Words, sentences and titles of an invented valley, all our own.

A template holds slots, `%(city)s`; a slot is filled from WORDS, or by what the story has fixed for
itself: its city, its institution, its spokesperson. Slots that begin a sentence carry their
article with them, so that gender and number agree.
"""

WORDS: dict[str, tuple[str, ...]] = {
    "city": (
        *("Itaperi", "Monte Belo do Vale", "Santa Rita das Águas", "Porto Sereno", "Barra Mansa"),
        *("Nova Esperança", "Pedra Lisa", "São Tomé da Serra", "Campo Largo do Sul", "Jacarandá"),
        *("Ribeirão das Flores", "Vila Ipê", "Serra Dourada", "Lagoa Funda", "Cachoeira Alta"),
    ),
    "area": (
        *("Centro", "Jardim das Palmeiras", "Vila Operária", "Alto da Boa Vista", "Parque do Lago"),
        *("Estação", "Santa Luzia", "Morro do Cruzeiro", "Jardim América", "Vila Nova"),
        *("Distrito Industrial", "Beira-Rio", "São Cristóvão", "Chácara do Sol"),
    ),
    "street": (
        *("Rua das Acácias", "Avenida Brasil", "Rua Sete de Setembro", "Avenida dos Ipês"),
        *("Rua Coronel Furtado", "Travessa do Mercado", "Avenida do Contorno", "Rua da Matriz"),
    ),
    "first": (
        *("Ana", "Beatriz", "Camila", "Denise", "Elaine", "Fernanda", "Helena", "Isabel", "Joana"),
        *("Larissa", "Marina", "Natália", "Paula", "Regina", "Sônia", "Tereza", "Vera", "Adriano"),
        *("Bruno", "Carlos", "Diego", "Eduardo", "Fábio", "Gustavo", "Heitor", "Ivan", "João"),
        *("Leandro", "Marcos", "Nelson", "Otávio", "Pedro", "Rafael", "Sérgio", "Tiago", "Vicente"),
    ),
    "last": (
        *("Almeida", "Barros", "Cardoso", "Duarte", "Esteves", "Ferraz", "Guimarães", "Hortêncio"),
        *("Junqueira", "Lacerda", "Magalhães", "Nogueira", "Oliveira", "Pacheco", "Queiroz"),
        *("Ramalho", "Sampaio", "Tavares", "Uchoa", "Vasconcelos", "Werneck", "Xavier", "Zanetti"),
    ),
    "day": (
        *("segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira"),
        *("manhã de sábado", "tarde de domingo", "noite de segunda-feira", "tarde de quarta-feira"),
    ),
    "month": (
        *("janeiro", "fevereiro", "março", "abril", "maio", "junho", "julho", "agosto"),
        *("setembro", "outubro", "novembro", "dezembro"),
    ),
    "few": ("três", "quatro", "cinco", "seis", "sete", "oito"),
    "many": ("12", "18", "24", "35", "40", "60", "75", "90", "120", "150", "230", "300", "480"),
    "percent": ("3%", "4,5%", "7%", "8,2%", "11%", "14%", "18%", "22%", "27%", "31%", "40%"),
    "money": (
        *("R$ 180 mil", "R$ 420 mil", "R$ 750 mil", "R$ 1,2 milhão", "R$ 2,8 milhões"),
        *("R$ 4,5 milhões", "R$ 9 milhões", "R$ 12,6 milhões", "R$ 31 milhões"),
    ),
    "source": (
        *("a prefeitura", "a assessoria", "a associação de moradores", "a secretaria", "a direção"),
        *("o conselho municipal", "o sindicato", "a comissão responsável", "o governo do estado"),
    ),
    "expert": (
        *("especialista da universidade regional", "analista do instituto do vale"),
        *("economista que acompanha o setor", "responsável pelo estudo"),
        *("representante do grupo", "cientista de dados que conferiu os números"),
    ),
    "resident": (
        *("comerciante", "motorista", "estudante", "feirante", "dentista", "taxista", "artista"),
        *("eletricista", "jornalista", "vigilante", "ambulante", "recepcionista", "pensionista"),
    ),
    "years": ("três", "cinco", "oito", "dez", "doze", "quinze", "vinte", "mais de vinte"),
    "team": (
        *(
            "Itaperi Futebol Clube",
            "União do Vale",
            "Esportivo Serrano",
            "Ferroviário de Jacarandá",
        ),
        *("Atlético Porto Sereno", "Ribeirão Atlético"),
    ),
    "crop": ("café", "milho", "soja", "laranja", "tomate", "feijão", "banana", "uva"),
    "art": ("peça", "exposição", "mostra de cinema", "roda de samba", "orquestra jovem", "feira"),
}

# Sentences that fit any story.
GENERAL = (
    "Segundo %(source)s, o assunto vinha sendo discutido havia pelo menos %(few)s semanas, em "
    "reuniões com representantes de %(few)s bairros.",
    "A decisão atinge diretamente cerca de %(many)s famílias, a maior parte delas no bairro "
    "%(area)s.",
    "Procurada pela Gazeta, %(fixed_source)s informou que acompanha a situação e que deve divulgar "
    "um balanço até o fim do mês.",
    "O levantamento mais recente, concluído em %(month)s, aponta uma variação de %(percent)s em "
    "relação ao mesmo período do ano passado.",
    "Moradores ouvidos pela reportagem contam que a mudança já é sentida na rotina do bairro, "
    "sobretudo no começo da manhã e no fim da tarde.",
    "Em nota, %(source)s afirmou que “todas as medidas cabíveis foram tomadas” e que o cronograma "
    "está mantido.",
    "Não é a primeira vez que o tema chega à região: em %(month)s do ano passado, uma proposta "
    "parecida foi discutida em %(city)s, mas não avançou.",
    "O investimento previsto é de %(money)s, dividido em %(few)s parcelas, com recursos do "
    "município e do estado.",
    "De acordo com o documento a que a Gazeta teve acesso, o prazo pode ser prorrogado por mais "
    "%(few)s meses caso haja chuva acima da média.",
    "“A gente espera por isso há %(years)s anos”, disse %(first)s %(last)s, %(resident)s, que mora "
    "na %(street)s.",
    "A reunião durou pouco mais de %(few)s horas e terminou sem acordo sobre o ponto mais "
    "discutido: quem paga a conta.",
    "Para %(first)s %(last)s, %(expert)s, o resultado confirma uma tendência que já aparecia nos "
    "números do primeiro semestre.",
    "O trânsito na %(street)s ficou lento durante toda a tarde, e agentes orientaram os motoristas "
    "a usar caminhos alternativos.",
    "A expectativa é que o novo modelo entre em funcionamento ainda em %(month)s, primeiro em "
    "%(fixed_city)s e depois nas cidades vizinhas.",
    "Um grupo de moradores organizou um abaixo-assinado, que reuniu mais de %(many)s assinaturas "
    "em %(few)s dias.",
    "Ninguém da empresa citada quis dar entrevista. Por telefone, uma funcionária disse apenas que "
    "“as informações serão prestadas no momento certo”.",
    "O caso será analisado por uma comissão formada por %(few)s técnicos, que tem trinta dias para "
    "apresentar um relatório.",
    "Na avaliação de %(fixed_first)s %(fixed_last)s, que acompanha o assunto de perto, falta "
    "informação clara para quem mais precisa dela.",
    "Quem passa pela %(street)s percebe a diferença: há mais gente nas calçadas, e o comércio abre "
    "mais cedo.",
    "Os dados foram apresentados na %(day)s, durante um encontro no bairro %(area)s, e podem ser "
    "consultados na sede da prefeitura.",
    "A oposição criticou a falta de transparência; a base do governo respondeu que todos os papéis "
    "estão à disposição de quem quiser ler.",
    "Um estudo da universidade regional calcula que, em %(few)s anos, o impacto na economia do "
    "vale pode passar de %(money)s.",
    "Até o fechamento desta edição, %(source)s não havia respondido aos pedidos de esclarecimento.",
    "O episódio reacendeu uma discussão antiga em %(fixed_city)s: até onde a cidade pode crescer "
    "sem perder o que a faz ser procurada.",
    "Ao todo, %(many)s pessoas participaram, número considerado alto para um dia útil e com tempo "
    "instável.",
    "A próxima etapa está marcada para a segunda quinzena de %(month)s, quando devem ser abertas "
    "as propostas.",
    "“Não adianta fazer pela metade. Ou se resolve agora, ou volta tudo no ano que vem”, afirmou "
    "%(first)s %(last)s, %(expert)s.",
    "Em %(city)s, uma experiência semelhante reduziu as reclamações em %(percent)s no primeiro ano, "
    "segundo %(source)s.",
    "O serviço funciona de segunda a sexta, das 8h às 17h, na %(street)s, no bairro %(area)s, e não "
    "é preciso marcar hora.",
    "As chuvas de %(month)s atrasaram o trabalho em cerca de %(few)s semanas, mas a previsão de "
    "entrega não mudou.",
    "Entre os entrevistados, a maioria diz que mudaria pouco do que foi feito; a principal queixa é "
    "a demora.",
    "A Gazeta percorreu %(few)s bairros de %(fixed_city)s e encontrou situações parecidas em quase "
    "todos eles.",
    "O texto ainda pode ser alterado, mas lideranças ouvidas reservadamente dizem que o essencial "
    "já está acertado.",
    "Voluntários se revezam desde cedo e esperam atender %(many)s pessoas até o fim da semana.",
    "O preço médio subiu %(percent)s em um ano, acima da inflação do período, e pesa mais para quem "
    "ganha menos.",
    "Há %(years)s anos na mesma esquina, %(first)s %(last)s, %(resident)s, diz que nunca viu "
    "movimento igual.",
    "Pelo acordo, cada município do vale fica responsável por uma parte do custo, proporcional ao "
    "número de habitantes.",
    "A fiscalização será feita por amostragem, com visitas sem aviso, e as multas podem chegar a "
    "%(money)s.",
)

QUOTES = (
    "A cidade mudou muito, e nem sempre quem decide anda a pé por aqui.",
    "Estamos fazendo o possível com o que temos, e o que temos é pouco.",
    "Se cada um cuidar da sua calçada, metade do problema acaba.",
    "O que a população quer é resposta, não é promessa.",
    "É um dia para não esquecer. Esperamos muito por ele.",
    "Não houve descuido. Houve uma sequência de fatos que ninguém previu.",
    "Vamos ouvir todo mundo antes de decidir, sem pressa e sem enrolação.",
    "Quando a gente trabalha junto, o vale inteiro ganha.",
    "O número assusta, mas esconde uma melhora que já começou.",
    "Eu cresci nesta rua. Quero que meus filhos também possam crescer nela.",
)

SUBHEADS = (
    *(
        "O que muda agora",
        "Entenda o caso",
        "Reações",
        "Próximos passos",
        "O que dizem os moradores",
    ),
    *("Histórico", "Números da região", "Quanto custa", "Outro lado", "Como foi"),
)

LISTED = (
    "atendimento na %(street)s, das 8h às 17h",
    "cadastro gratuito para moradores do bairro %(area)s",
    "reunião aberta na %(day)s, no salão paroquial",
    "prazo até o fim de %(month)s",
    "linha direta com a prefeitura de %(fixed_city)s",
    "transporte gratuito saindo do bairro %(area)s",
)

COMMENTS = (
    "Até que enfim alguém falou disso.",
    "Moro perto e posso confirmar, foi exatamente assim.",
    "Boa reportagem, parabéns à equipe.",
    "E a prefeitura, vai fazer alguma coisa ou só reunião?",
    "Quero ver quem vai pagar essa conta.",
    "Discordo do texto, faltou ouvir o outro lado.",
    "Passo todo dia por ali e nunca vi fiscal nenhum.",
    "Que notícia boa, o vale merece.",
    "Triste demais. Força para as famílias.",
    "Isso já tinha acontecido há dois anos e ninguém aprendeu nada.",
    "Faltou dizer quando começa a valer.",
    "Meu avô já dizia que ia dar nisso.",
    "Alguém sabe se precisa levar documento?",
    "Sempre a mesma história, muda o prefeito e não muda nada.",
)

POLLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Qual deve ser a prioridade em %(city)s?", ("Saúde", "Educação", "Segurança", "Transporte")),
    ("Você aprova a nova praça de %(city)s?", ("Sim", "Não", "Ainda não vi")),
    ("Como você vai ao trabalho em %(city)s?", ("A pé", "De bicicleta", "De ônibus", "De carro")),
    ("Quem leva o campeonato do vale: o %(team)s?", ("Sim, com folga", "Sim, no sufoco", "Não")),
    ("O centro de %(city)s deve fechar para carros aos domingos?", ("Sim", "Não", "Só à tarde")),
    ("A feira de %(city)s deve mudar de lugar?", ("Sim", "Não", "Tanto faz")),
    ("O que falta no bairro %(area)s?", ("Iluminação", "Creche", "Calçada", "Posto de saúde")),
    ("O preço do ônibus em %(city)s é justo?", ("Sim", "É caro", "É barato")),
    ("Que festa de %(city)s você não perde?", ("Festa junina", "Carnaval", "Festa da padroeira")),
    ("Você separa o lixo em casa em %(city)s?", ("Sempre", "Às vezes", "Nunca")),
)

SECTIONS: tuple[tuple[str, str], ...] = (
    ("politica", "Política"),
    ("policia", "Polícia"),
    ("cidades", "Cidades"),
    ("economia", "Economia"),
    ("esportes", "Esportes"),
    ("cultura", "Cultura"),
    ("saude", "Saúde"),
    ("educacao", "Educação"),
    ("campo", "Campo"),
)

TITLES: dict[str, tuple[str, ...]] = {
    "politica": (
        "Câmara de %(city)s aprova orçamento de %(money)s",
        "Vereadores de %(city)s adiam votação sobre o bairro %(area)s",
        "Prefeitura de %(city)s muda secretariado e promete cortar %(percent)s dos gastos",
        "Audiência em %(city)s discute plano para o bairro %(area)s",
        "Comissão pede explicações sobre contrato de %(money)s em %(city)s",
        "%(first)s %(last)s assume a presidência da Câmara de %(city)s",
        "Prefeitos do vale cobram do estado obras de %(money)s",
        "Projeto em %(city)s proíbe nomear parentes e divide vereadores",
    ),
    "policia": (
        "Tiroteio deixa feridos no bairro %(area)s, em %(city)s",
        "Polícia prende %(few)s suspeitos de furtos em %(city)s",
        "Operação recolhe carga avaliada em %(money)s em %(city)s",
        "Acidente na %(street)s fecha o trânsito em %(city)s",
        "Polícia investiga golpe contra idosos em %(city)s",
        "Incêndio destrói depósito no bairro %(area)s, em %(city)s",
        "Furtos caem %(percent)s em %(city)s, diz polícia",
        "Bombeiros resgatam %(few)s pessoas em enchente em %(city)s",
    ),
    "cidades": (
        "Obra na %(street)s muda o trânsito em %(city)s",
        "%(city)s fica sem água em %(few)s bairros",
        "Ônibus de %(city)s terão %(few)s novas linhas",
        "Moradores de %(city)s pedem iluminação no bairro %(area)s",
        "%(city)s planta %(many)s árvores na %(street)s",
        "Chuva alaga ruas do bairro %(area)s, em %(city)s",
        "Ponte entre %(city)s e o bairro %(area)s é reaberta",
        "Coleta de lixo muda de horário em %(city)s",
    ),
    "economia": (
        "Fábrica anuncia %(many)s vagas em %(city)s",
        "Comércio de %(city)s cresce %(percent)s em %(month)s",
        "Preço da cesta básica sobe %(percent)s em %(city)s",
        "Pequenas empresas de %(city)s terão crédito de %(money)s",
        "Feira de negócios movimenta %(money)s em %(city)s",
        "Aluguel sobe %(percent)s e muda o mapa de %(city)s",
        "Desemprego cai %(percent)s no vale, puxado por %(city)s",
        "Cooperativa de %(city)s investe %(money)s em nova sede",
    ),
    "esportes": (
        "%(team)s vence fora de casa e assume a liderança",
        "%(team)s empata no fim e segue invicto em %(city)s",
        "%(team)s entrega o comando a %(first)s %(last)s",
        "%(team)s perde clássico e vê crise aumentar",
        "Corrida de rua reúne %(many)s atletas em %(city)s",
        "Estádio de %(city)s reabre depois de obra de %(money)s",
        "Nadadora de %(city)s bate recorde do vale",
        "%(team)s abre inscrições para a base em %(city)s",
    ),
    "cultura": (
        "%(city)s recebe %(art)s com entrada gratuita",
        "Festival de %(city)s anuncia %(few)s atrações",
        "%(first)s %(last)s lança livro em %(city)s",
        "Museu de %(city)s reabre com acervo de %(many)s peças",
        "%(art)s ocupa a %(street)s, em %(city)s",
        "Cinema de rua de %(city)s faz campanha para não fechar",
        "Banda de %(city)s grava disco no bairro %(area)s",
        "Festa da padroeira de %(city)s espera %(many)s mil pessoas",
    ),
    "saude": (
        "Posto do bairro %(area)s, em %(city)s, amplia horário",
        "Vacinação em %(city)s alcança %(percent)s do público em uma semana",
        "Hospital de %(city)s ganha %(few)s novos leitos",
        "%(city)s faz mutirão com %(many)s consultas",
        "Casos de dengue caem %(percent)s em %(city)s",
        "Falta de médicos fecha posto no bairro %(area)s, em %(city)s",
        "Hospital de %(city)s recebe %(money)s para reforma",
        "Campanha em %(city)s busca %(many)s doadores de sangue",
    ),
    "educacao": (
        "Escola de %(city)s abre %(many)s vagas em tempo integral",
        "Alunos de %(city)s vencem olimpíada de matemática",
        "Creche do bairro %(area)s, em %(city)s, fica pronta em %(month)s",
        "Professores de %(city)s aceitam reajuste de %(percent)s",
        "Universidade regional terá curso em %(city)s",
        "Merenda de %(city)s passa a usar produtos do vale",
        "Biblioteca de %(city)s recebe %(many)s livros novos",
        "Evasão escolar cai %(percent)s em %(city)s",
    ),
    "campo": (
        "Safra de %(crop)s em %(city)s deve crescer %(percent)s",
        "Produtores de %(crop)s de %(city)s esperam chuva",
        "Geada em %(city)s prejudica lavouras de %(crop)s",
        "Cooperativa de %(city)s exporta %(crop)s pela primeira vez",
        "Preço de %(crop)s cai %(percent)s e preocupa %(city)s",
        "Feira do campo em %(city)s fecha negócios de %(money)s",
        "Irrigação chega a %(many)s sítios de %(city)s",
        "Jovens de %(city)s voltam ao campo com o cultivo de %(crop)s",
    ),
}

# What may follow a title; most stories have nothing there.
TAILS = (
    *("", "", "", "; veja o que muda", "; entenda o caso", ", diz %(fixed_source)s"),
    *(" e divide moradores", "; moradores reagem", "; saiba os detalhes", ", e vizinhos comentam"),
)

# Sentences of one section; each story mixes them with the general ones.
OF_SECTION: dict[str, tuple[str, ...]] = {
    "politica": (
        "A sessão começou com atraso e foi acompanhada por cerca de %(many)s pessoas nas galerias "
        "da Câmara de %(fixed_city)s.",
        "%(fixed_first)s %(fixed_last)s, que relata o projeto, incluiu %(few)s emendas no texto, "
        "entre elas a que obriga a publicar os contratos na internet.",
        "A votação foi nominal, e o placar só se definiu nos últimos minutos, depois de uma "
        "negociação no corredor.",
        "A prefeitura calcula uma economia de %(money)s por ano, conta que a oposição contesta.",
        "O projeto volta à pauta na %(day)s, em segundo turno, e precisa de dois terços dos votos.",
        "“Não se governa contra a cidade”, discursou %(first)s %(last)s, sob aplausos de parte "
        "do plenário e vaias de outra.",
        "O Ministério Público pediu cópia da ata e deu dez dias para que a Câmara se manifeste.",
        "Nos bastidores, aliados já tratam o assunto como a primeira disputa da próxima eleição.",
    ),
    "policia": (
        "Segundo a polícia, o chamado foi recebido por volta das 22h, e a primeira equipe chegou "
        "ao bairro %(area)s em menos de dez minutos.",
        "A perícia esteve no local até a madrugada e recolheu imagens de %(few)s câmeras da região.",
        "As vítimas foram levadas ao hospital de %(fixed_city)s. O estado de saúde de uma delas é "
        "considerado estável.",
        "%(fixed_first)s %(fixed_last)s, que comanda o inquérito, disse que há %(few)s linhas de "
        "investigação e que nenhuma foi descartada.",
        "Testemunhas contaram que ouviram barulho e gritos antes de ver um carro escuro deixar a "
        "%(street)s em alta velocidade.",
        "Quem tiver informações pode ligar para o disque-denúncia; não é preciso dizer o nome.",
        "O policiamento foi reforçado na região, com %(few)s viaturas a mais durante a noite.",
        "Os suspeitos foram ouvidos e liberados; dois deles devem voltar à delegacia na %(day)s.",
    ),
    "cidades": (
        "As máquinas chegaram à %(street)s ainda de madrugada e devem ficar ali por %(few)s "
        "semanas.",
        "Os desvios estão sinalizados, mas motoristas reclamam que as placas só aparecem em cima da "
        "hora.",
        "O abastecimento deve ser normalizado aos poucos, a começar pelas partes baixas do bairro "
        "%(area)s.",
        "A prefeitura de %(fixed_city)s recomenda que os moradores guardem água e evitem lavar "
        "calçadas até segunda ordem.",
        "Pelo novo desenho, a avenida terá calçadas mais largas, ciclovia e %(few)s travessias "
        "elevadas.",
        "A Defesa Civil vistoriou %(many)s casas e interditou %(few)s delas por precaução.",
        "O ponto de ônibus mais próximo passa a ser o da %(street)s, a trezentos metros dali.",
        "Comerciantes pedem que a obra seja feita à noite; a empreiteira diz que isso dobraria o "
        "prazo.",
    ),
    "economia": (
        "As contratações começam em %(month)s e serão feitas pelo posto de emprego de "
        "%(fixed_city)s.",
        "O setor responde por %(percent)s dos empregos formais do vale, de acordo com %(source)s.",
        "Para os lojistas, o pagamento de salários atrasados e o frio fora de época ajudaram as "
        "vendas.",
        "O crédito terá juros abaixo dos do mercado e carência de %(few)s meses.",
        "“Quem tem dívida cara deve trocar agora, antes de assumir outra”, recomenda %(first)s "
        "%(last)s, %(expert)s.",
        "A arrecadação do município cresceu %(percent)s, puxada por serviços e construção.",
        "Dos itens pesquisados, o tomate foi o que mais subiu, e o arroz, o que mais caiu.",
        "A empresa não revelou o faturamento, mas confirmou o investimento de %(money)s até o ano "
        "que vem.",
    ),
    "esportes": (
        "O gol saiu aos 38 minutos do segundo tempo, depois de um escanteio que a defesa não "
        "conseguiu afastar.",
        "A comissão de %(fixed_first)s %(fixed_last)s poupou %(few)s titulares e foi elogiada pela "
        "torcida ao fim do jogo.",
        "O público no estádio de %(fixed_city)s foi o maior da temporada, com renda de %(money)s.",
        "Com o resultado, o time soma %(few)s partidas sem perder e depende só de si para se "
        "classificar.",
        "O próximo jogo é na %(day)s, contra o %(team)s, e os ingressos já estão à venda.",
        "O departamento médico deve liberar dois jogadores que estavam fora desde %(month)s.",
        "“Jogamos como quem queria ganhar, e isso se vê na tabela”, disse o capitão, ainda no "
        "gramado.",
        "A diretoria promete concluir as obras do vestiário antes do início do returno.",
    ),
    "cultura": (
        "A programação vai até o fim do mês, com sessões às quintas e aos sábados, e a retirada de "
        "ingressos começa uma hora antes.",
        "O espetáculo nasceu de %(few)s meses de oficinas no bairro %(area)s, com atores que nunca "
        "haviam pisado num palco.",
        "“A rua é o nosso maior teatro”, resume %(fixed_first)s %(fixed_last)s, que assina a "
        "direção.",
        "O acervo reúne fotografias, cartas e objetos doados por %(many)s famílias do vale.",
        "Quem quiser participar das oficinas pode se inscrever na %(street)s até a véspera.",
        "O público das últimas edições cresceu %(percent)s, e parte dele vem de fora da região.",
        "A curadoria escolheu %(few)s artistas de %(city)s e igual número de convidados.",
        "O dinheiro vem de edital do estado e da venda de rifas, prática comum entre os grupos "
        "locais.",
    ),
    "saude": (
        "O atendimento é por ordem de chegada, e é preciso levar documento com foto e o cartão do "
        "posto.",
        "A fila por consulta com especialista diminuiu %(percent)s desde %(month)s, mas ainda passa "
        "de %(few)s meses.",
        "“A procura cresce sempre que esfria. O que mudou foi a nossa capacidade de atender”, diz "
        "%(first)s %(last)s, que dirige o hospital de %(fixed_city)s.",
        "Os agentes visitaram %(many)s casas no bairro %(area)s em busca de água parada.",
        "As doses são aplicadas também aos sábados, em %(few)s postos, até as 16h.",
        "O hospital atende pacientes de %(few)s municípios e vinha operando acima do limite.",
        "Especialistas lembram que febre por mais de dois dias é motivo para procurar um médico.",
        "Os novos equipamentos, comprados por %(money)s, devem chegar em %(month)s.",
    ),
    "educacao": (
        "As matrículas podem ser feitas na própria escola, e irmãos de alunos têm preferência.",
        "A turma treinava depois da aula, com a ajuda de %(fixed_first)s %(fixed_last)s, que ensina "
        "matemática.",
        "O prédio terá %(few)s salas, biblioteca e uma quadra coberta aberta ao bairro nos fins de "
        "semana.",
        "Pais de alunos ouvidos no bairro %(area)s aprovam a mudança, mas pedem transporte.",
        "O índice da rede municipal subiu %(percent)s na última avaliação, acima da média do "
        "estado.",
        "O curso terá %(many)s vagas e aulas à noite, para quem trabalha durante o dia.",
        "Agricultores do vale passam a fornecer frutas e verduras para %(many)s refeições por dia.",
        "“Criança que lê em casa chega diferente à escola”, diz %(first)s %(last)s, que "
        "dirige a biblioteca.",
    ),
    "campo": (
        "A colheita começou %(few)s semanas antes do previsto, por causa do calor de %(month)s.",
        "O sítio de %(fixed_first)s %(fixed_last)s, com %(many)s hectares, é um dos que adotaram a "
        "irrigação por gotejamento.",
        "Os técnicos recomendam não plantar antes de %(month)s, quando o solo deve estar mais "
        "úmido.",
        "A saca foi negociada com alta de %(percent)s na cooperativa de %(fixed_city)s.",
        "“O clima manda, a gente obedece”, resume %(first)s %(last)s, que planta %(crop)s há "
        "%(years)s anos.",
        "O crédito rural aprovado para o vale soma %(money)s, mas só parte chegou aos pequenos.",
        "Estradas de terra em más condições encarecem o frete em até %(percent)s, segundo "
        "produtores.",
        "A assistência técnica atende %(many)s propriedades e promete dobrar o número até o fim do "
        "ano.",
    ),
}

TAGS: dict[str, tuple[str, ...]] = {
    "politica": ("Câmara Municipal", "Orçamento", "Eleições", "Transparência", "Prefeitura"),
    "policia": ("Segurança", "Trânsito", "Investigação", "Bombeiros", "Violência"),
    "cidades": ("Obras", "Água", "Transporte público", "Chuva", "Meio ambiente"),
    "economia": ("Emprego", "Comércio", "Preços", "Crédito", "Indústria"),
    "esportes": ("Futebol", "Campeonato do Vale", "Corrida", "Estádio", "Categorias de base"),
    "cultura": ("Teatro", "Música", "Livros", "Festas", "Patrimônio"),
    "saude": ("Vacina", "Hospital", "Dengue", "Posto de saúde", "Doação de sangue"),
    "educacao": ("Escola", "Creche", "Universidade", "Professores", "Leitura"),
    "campo": ("Safra", "Café", "Cooperativa", "Clima", "Agricultura familiar"),
}
SHARED_TAGS = ("Vale do Itaperi", "Serviço", "Entrevista", "Dados", "Comunidade")

SPOKEN_FOR: dict[str, tuple[str, ...]] = {
    "politica": ("a mesa da Câmara", "a prefeitura"),
    "policia": ("a Polícia Civil", "a Polícia Militar", "o Corpo de Bombeiros"),
    "cidades": ("a companhia de água", "a secretaria de obras", "a Defesa Civil"),
    "economia": ("a associação comercial", "o sindicato dos comerciários"),
    "esportes": ("a federação do vale", "a diretoria do clube"),
    "cultura": ("a secretaria de cultura", "a fundação que cuida do acervo"),
    "saude": ("a secretaria de saúde", "a direção do hospital"),
    "educacao": ("a secretaria de educação", "a reitoria"),
    "campo": ("a cooperativa", "o sindicato rural"),
}
